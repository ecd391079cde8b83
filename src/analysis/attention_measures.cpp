#include "analysis/attention_measures.h"

#include <cmath>
#include <limits>

#include <torch/special.h>
#include <torch/types.h>

#include "analysis/collapse_measures.h"
#include "runtime/check.h"

namespace cskd::analysis {
namespace {

constexpr double kTemperature = 0.1;

void require_maps(const at::Tensor& maps) {
  CSKD_CHECK(maps.dim() == 4 && maps.size(2) == maps.size(3), "maps have {} dimensions", maps.dim());
}

}  // namespace

PatchPlaces patch_places(std::int64_t tokens, int grid) {
  // A finer grid without other tokens before a coarser one with many: 4, 9 or 16 times as many tokens are no registers.
  const auto side = static_cast<int>(std::lround(std::sqrt(static_cast<double>(tokens))));
  if (std::int64_t{side} * side == tokens && side >= grid && side % grid == 0) return {.prefix = 0, .grid = side};
  const std::int64_t patches = std::int64_t{grid} * grid;
  CSKD_CHECK(tokens > patches, "attention over {} tokens, of a grid of {} a side", tokens, grid);
  return {.prefix = static_cast<int>(tokens - patches), .grid = grid};
}

at::Tensor patch_attention(const models::Attention& attention, const PatchPlaces& places) {
  const at::Tensor queries = attention.queries.slice(2, places.prefix).to(at::kFloat);
  const at::Tensor keys = attention.keys.slice(2, places.prefix).to(at::kFloat);
  // A softmax over some of the keys is that over all of them, renormalised.
  const double scale = 1 / std::sqrt(static_cast<double>(queries.size(3)));
  return torch::softmax(torch::matmul(queries * scale, keys.transpose(2, 3)), 3);
}

at::Tensor token_affinity(const at::Tensor& tokens, int grid, int pooled_grid) {
  CSKD_CHECK(pooled_grid >= 2 && pooled_grid <= grid && tokens.size(1) == std::int64_t{grid} * grid,
             "{} tokens of a grid of {}, pooled to {}", tokens.size(1), grid, pooled_grid);
  const at::Tensor map = tokens.to(at::kFloat).transpose(1, 2).reshape({tokens.size(0), tokens.size(2), grid, grid});
  const at::Tensor pooled = torch::adaptive_avg_pool2d(map, {pooled_grid, pooled_grid}).flatten(2).transpose(1, 2);
  const at::Tensor directions = pooled / pooled.norm(2, {2}, true).clamp_min(kLeastNorm);
  at::Tensor logits = torch::matmul(directions, directions.transpose(1, 2)) / kTemperature;
  logits.diagonal(0, 1, 2).fill_(-std::numeric_limits<float>::infinity());
  return torch::softmax(logits, 2).unsqueeze(1);
}

at::Tensor patch_distances(int grid) {
  CSKD_CHECK(grid >= 2, "a grid of {} a side has no distances", grid);
  const at::Tensor side = torch::arange(grid, at::kDouble);
  const at::Tensor y = side.repeat_interleave(grid);
  const at::Tensor x = side.repeat({grid});
  const at::Tensor squares = (y.unsqueeze(0) - y.unsqueeze(1)).square() + (x.unsqueeze(0) - x.unsqueeze(1)).square();
  return (squares.sqrt() / (std::sqrt(2.0) * (grid - 1))).to(at::kFloat);
}

at::Tensor attention_distance(const at::Tensor& maps, const at::Tensor& distances) {
  require_maps(maps);
  return torch::matmul(maps.flatten(2), distances.flatten()).to(at::kDouble) / static_cast<double>(maps.size(2));
}

at::Tensor attention_entropy(const at::Tensor& maps) {
  require_maps(maps);
  return torch::special::entr(maps).sum({2, 3}).to(at::kDouble) / static_cast<double>(maps.size(2));
}

at::Tensor head_similarity(const at::Tensor& maps) {
  require_maps(maps);
  if (maps.size(1) < 2)
    return torch::full({maps.size(0)}, std::numeric_limits<double>::quiet_NaN(), maps.options().dtype(at::kDouble));
  const auto heads = static_cast<double>(maps.size(1));
  const at::Tensor flat = maps.flatten(2);
  const at::Tensor directions = flat / flat.norm(2, {2}, true).clamp_min(kLeastNorm);
  // The squared norm of the sum of all directions is that of each, and every pair twice.
  const at::Tensor all = directions.sum(1).square().sum(1).to(at::kDouble);
  const at::Tensor each = directions.square().sum({1, 2}).to(at::kDouble);
  return (all - each) / (heads * (heads - 1));
}

at::Tensor distance_histogram(const at::Tensor& maps, const at::Tensor& distances, int bins) {
  require_maps(maps);
  // Rounding must not move what lies on the edge of a bin, as whole rows of the grid do.
  constexpr double kRounding = 1e-6;
  const at::Tensor bin = (distances.to(at::kDouble) * bins + kRounding).floor().clamp(0, bins - 1).flatten();
  // A product of matrices is many times faster than adding number by number.
  const at::Tensor is_in_bin =
      bin.unsqueeze(1).eq(torch::arange(bins, bin.options()).unsqueeze(0)).to(maps.scalar_type());
  return torch::matmul(maps.flatten(2), is_in_bin).to(at::kDouble) / static_cast<double>(maps.size(2));
}

}  // namespace cskd::analysis

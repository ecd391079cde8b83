#include "losses/attention.h"

#include <cmath>
#include <limits>

#include <ATen/ATen.h>

#include "runtime/check.h"

namespace cskd::losses {
namespace {

constexpr double kTemperature = 0.1;
constexpr double kLeastNorm = 1e-12;
constexpr double kLeastVariance = 1e-12;  // the slope of a root at zero is infinite

at::Tensor deviation_over_heads(const at::Tensor& distances) {
  return (distances.var({2}, /*correction=*/0) + kLeastVariance).sqrt();
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

at::Tensor patch_attention(const at::Tensor& queries, const at::Tensor& keys, const PatchPlaces& places) {
  const at::Tensor of_patches = queries.slice(2, places.prefix).to(at::kFloat);
  const at::Tensor to_patches = keys.slice(2, places.prefix).to(at::kFloat);
  // A softmax over some of the keys is that over all of them, renormalised.
  const double scale = 1 / std::sqrt(static_cast<double>(queries.size(3)));
  return at::softmax(at::matmul(of_patches * scale, to_patches.transpose(2, 3)), 3);
}

at::Tensor token_affinity(const at::Tensor& tokens, int grid, int pooled_grid) {
  CSKD_CHECK(pooled_grid >= 2 && pooled_grid <= grid && tokens.size(1) == std::int64_t{grid} * grid,
             "{} tokens of a grid of {}, pooled to {}", tokens.size(1), grid, pooled_grid);
  const at::Tensor map = tokens.to(at::kFloat).transpose(1, 2).reshape({tokens.size(0), tokens.size(2), grid, grid});
  const at::Tensor pooled = at::adaptive_avg_pool2d(map, {pooled_grid, pooled_grid}).flatten(2).transpose(1, 2);
  const at::Tensor directions = pooled / pooled.norm(2, {2}, true).clamp_min(kLeastNorm);
  at::Tensor logits = at::matmul(directions, directions.transpose(1, 2)) / kTemperature;
  logits.diagonal(0, 1, 2).fill_(-std::numeric_limits<float>::infinity());
  return at::softmax(logits, 2).unsqueeze(1);
}

at::Tensor patch_distances(int grid) {
  CSKD_CHECK(grid >= 2, "a grid of {} a side has no distances", grid);
  const at::Tensor side = at::arange(grid, at::kDouble);
  const at::Tensor y = side.repeat_interleave(grid);
  const at::Tensor x = side.repeat({grid});
  const at::Tensor squares = (y.unsqueeze(0) - y.unsqueeze(1)).square() + (x.unsqueeze(0) - x.unsqueeze(1)).square();
  return (squares.sqrt() / (std::sqrt(2.0) * (grid - 1))).to(at::kFloat);
}

at::Tensor attention_distance(const at::Tensor& maps, const at::Tensor& distances) {
  CSKD_CHECK(maps.dim() == 4 && maps.size(2) == maps.size(3), "maps have {} dimensions", maps.dim());
  return at::matmul(maps.flatten(2), distances.flatten()).to(at::kDouble) / static_cast<double>(maps.size(2));
}

at::Tensor distance_of_moments(const at::Tensor& student, const at::Tensor& reference) {
  CSKD_CHECK(student.dim() == 3 && reference.dim() == 3 && student.size(1) == reference.size(1),
             "attention distances of {} and {} dimensions", student.dim(), reference.dim());
  const at::Tensor means = (student.mean(2) - reference.mean(2)).abs();
  const at::Tensor deviations = (deviation_over_heads(student) - deviation_over_heads(reference)).abs();
  return (means + 0.5 * deviations).mean();
}

}  // namespace cskd::losses

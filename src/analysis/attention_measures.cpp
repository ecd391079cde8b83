#include "analysis/attention_measures.h"

#include <limits>

#include <torch/special.h>
#include <torch/types.h>

#include "analysis/collapse_measures.h"
#include "runtime/check.h"

namespace cskd::analysis {
namespace {

void require_maps(const at::Tensor& maps) {
  CSKD_CHECK(maps.dim() == 4 && maps.size(2) == maps.size(3), "maps have {} dimensions", maps.dim());
}

}  // namespace

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

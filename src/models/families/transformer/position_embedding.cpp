#include "models/families/transformer/position_embedding.h"

#include <cmath>
#include <cstdint>

#include <ATen/ATen.h>

namespace cskd::models::transformer {
namespace {

// Tokens a side; 0 if they are no square.
std::int64_t side_of(std::int64_t tokens) {
  if (tokens < 1) return 0;
  const auto side = static_cast<std::int64_t>(std::llround(std::sqrt(static_cast<double>(tokens))));
  return side * side == tokens ? side : 0;
}

}  // namespace

at::Tensor resampled_positions(const at::Tensor& stored, at::IntArrayRef shape, int prefix) {
  const std::int64_t width = shape.back();
  const bool is_embedding = stored.dim() == 2 || (stored.dim() == 3 && stored.size(0) == 1);
  if (!is_embedding || stored.size(-1) != width) return {};
  const std::int64_t from = side_of(stored.size(-2) - prefix);
  const std::int64_t to = side_of(shape[shape.size() - 2] - prefix);
  if (from == 0 || to == 0) return {};
  const at::Tensor tokens = stored.reshape({1, -1, width});
  const at::Tensor grid = tokens.slice(1, prefix).reshape({1, from, from, width}).permute({0, 3, 1, 2});
  const at::Tensor resampled = at::_upsample_bicubic2d_aa(grid, {to, to}, /*align_corners=*/false);
  const at::Tensor rows = resampled.permute({0, 2, 3, 1}).reshape({1, to * to, width});
  return at::cat({tokens.slice(1, 0, prefix), rows}, 1).reshape(shape);
}

}  // namespace cskd::models::transformer

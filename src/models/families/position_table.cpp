#include "models/families/position_table.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <optional>
#include <vector>

#include <torch/types.h>

namespace cskd::models {
namespace {

using torch::Tensor;

// Positions a side of a table with so many rows; nothing if it is no table of a window.
std::optional<std::int64_t> side_of(std::int64_t rows) {
  const auto side = static_cast<std::int64_t>(std::lround(std::sqrt(static_cast<double>(rows))));
  if (side % 2 == 0 || side * side != rows) return std::nullopt;
  return side;
}

// Where `side` stored positions lie, so that the outermost is as far out as that of `wanted_side`: the ratio of their
// progression is found by halving, to timm's bounds and precision.
std::vector<double> positions_of(std::int64_t side, std::int64_t wanted_side) {
  const auto steps = static_cast<double>(side / 2);
  double left = 1.01;
  double right = 1.5;
  double ratio = left;
  while (right - left > 1e-6) {
    ratio = (left + right) / 2;
    const double outermost = (1 - std::pow(ratio, steps)) / (1 - ratio);
    (outermost > static_cast<double>(wanted_side / 2) ? right : left) = ratio;
  }
  std::vector<double> positions(static_cast<std::size_t>(side));
  const auto middle = static_cast<std::size_t>(side / 2);
  double distance = 0;
  for (std::size_t i = 1; i <= middle; ++i) {
    distance += std::pow(ratio, static_cast<double>(i - 1));
    positions[middle + i] = distance;
    positions[middle - i] = -distance;
  }
  return positions;
}

// [wanted_side, side]: the shares that stored positions have in a wanted one. Beyond the outermost it is that alone.
Tensor shares_of(std::int64_t side, std::int64_t wanted_side) {
  const std::vector<double> positions = positions_of(side, wanted_side);
  const Tensor shares = torch::zeros({wanted_side, side}, torch::kDouble);
  auto share = shares.accessor<double, 2>();
  for (std::int64_t i = 0; i < wanted_side; ++i) {
    const auto wanted = static_cast<double>(i - wanted_side / 2);
    const std::int64_t next = std::ranges::lower_bound(positions, wanted) - positions.begin();
    if (next == 0 || next == side) {
      share[i][std::min(next, side - 1)] = 1;
      continue;
    }
    const double before = positions[static_cast<std::size_t>(next - 1)];
    const double part = (wanted - before) / (positions[static_cast<std::size_t>(next)] - before);
    share[i][next - 1] = 1 - part;
    share[i][next] = part;
  }
  return shares;
}

}  // namespace

Tensor resampled_position_table(const Tensor& stored, at::IntArrayRef shape) {
  if (stored.dim() != 2 || shape.size() != 2 || stored.size(1) != shape[1]) return {};
  const auto side = side_of(stored.size(0));
  const auto wanted_side = side_of(shape[0]);
  if (!side || !wanted_side) return {};
  if (stored.is_meta()) return torch::empty(shape, stored.options());
  const Tensor shares = shares_of(*side, *wanted_side);
  // [heads, rows, columns] of positions
  const Tensor table = stored.to(torch::kDouble).t().reshape({shape[1], *side, *side});
  return shares.matmul(table).matmul(shares.t()).flatten(1).t().to(stored.scalar_type());
}

}  // namespace cskd::models

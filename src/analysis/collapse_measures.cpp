#include "analysis/collapse_measures.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include <torch/types.h>

namespace cskd::analysis {
namespace {

constexpr double kPairScale = 2;
constexpr std::int64_t kRowsAtOnce = 1024;

at::Tensor centred(const at::Tensor& products, const at::Tensor& first, const at::Tensor& second, std::int64_t n) {
  return products - torch::outer(first, second) / static_cast<double>(n);
}

}  // namespace

at::Tensor directions(const at::Tensor& features) {
  const at::Tensor wide = features.to(at::kDouble);
  return wide / wide.norm(2, {1}, true).clamp_min(kLeastNorm);
}

FeatureSums feature_sums(const at::Tensor& features) {
  const at::Tensor wide = features.to(at::kDouble);
  const at::Tensor unit = directions(features);
  return {.products = torch::matmul(wide.t(), wide),
          .total = wide.sum(0),
          .direction_total = unit.sum(0),
          .direction_squares = unit.square().sum(0)};
}

at::Tensor singular_values(const at::Tensor& products, std::int64_t n) {
  const at::Tensor rising = torch::linalg_eigvalsh(products).clamp_min(0).sqrt();
  return rising.flip(0).slice(0, 0, std::min(n, products.size(0)));
}

double rank_me(const at::Tensor& singular_values) {
  constexpr double kLeast = 1e-7;
  const at::Tensor shares = singular_values / singular_values.sum() + kLeast;
  return std::exp(-(shares * shares.log()).sum().item<double>());
}

double direction_std(const FeatureSums& sums, std::int64_t n) {
  const auto count = static_cast<double>(n);
  const at::Tensor mean = sums.direction_total / count;
  return (sums.direction_squares / count - mean.square()).clamp_min(0).sqrt().mean().item<double>();
}

double pair_potential(const at::Tensor& first, const at::Tensor& second) {
  double sum = 0;
  for (std::int64_t row = 0; row < first.size(0); row += kRowsAtOnce) {
    const at::Tensor block = first.slice(0, row, row + kRowsAtOnce);
    const at::Tensor squares =
        block.square().sum(1, true) + second.square().sum(1).unsqueeze(0) - 2 * torch::matmul(block, second.t());
    sum += (-kPairScale * squares.clamp_min(0)).exp().sum().item<double>();
  }
  return sum;
}

double uniformity(double potential, std::int64_t n) {
  const auto count = static_cast<double>(n);
  // A picture with itself adds 1.
  return std::log((potential - count) / (count * (count - 1)));
}

double linear_cka(const FeatureSums& x, const FeatureSums& y, const at::Tensor& cross, std::int64_t n) {
  // What is left of a constant after centring is rounding.
  constexpr double kRounding = 1e-12;
  const auto spread = [&](const FeatureSums& sums) {
    const double own = centred(sums.products, sums.total, sums.total, n).norm().item<double>();
    return own > kRounding * sums.products.norm().item<double>() ? own : std::numeric_limits<double>::quiet_NaN();
  };
  return centred(cross, x.total, y.total, n).square().sum().item<double>() / (spread(x) * spread(y));
}

}  // namespace cskd::analysis

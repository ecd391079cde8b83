#include "optim/ridge_regression.h"

#include <cmath>
#include <limits>
#include <tuple>

#include <torch/types.h>

#include "runtime/check.h"

namespace cskd::optim {

at::Tensor ridge_sums(const at::Tensor& features, const at::Tensor& scores) {
  const at::Tensor rows = torch::cat(
      {features.to(at::kDouble), scores.to(at::kDouble).unsqueeze(1), torch::ones({features.size(0), 1}, at::kDouble)},
      1);
  return torch::matmul(rows.t(), rows);
}

at::Tensor LinearFunction::operator()(const at::Tensor& features) const {
  return torch::mv(features.to(at::kDouble), weights) + intercept;
}

Ridge::Ridge(const at::Tensor& sums) {
  const std::int64_t width = sums.size(0) - 2;
  const auto n = sums[width + 1][width + 1].item<double>();
  CSKD_CHECK(n >= 1, "ridge regression of {} pictures", n);
  mean_ = sums[width + 1].slice(0, 0, width) / n;
  mean_score_ = sums[width + 1][width].item<double>() / n;
  const at::Tensor covariances = sums.slice(0, 0, width).slice(1, 0, width) / n - torch::outer(mean_, mean_);
  const at::Tensor variances = covariances.diagonal().clamp_min(0);
  // A variance this much smaller than the square of the mean is rounding.
  constexpr double kRounding = 1e-12;
  const at::Tensor varies = variances > kRounding * (variances + mean_.square());
  scale_ = torch::where(varies, variances.rsqrt(), torch::zeros_like(variances));
  std::tie(eigenvalues_, eigenvectors_) = torch::linalg_eigh(covariances * torch::outer(scale_, scale_));
  eigenvalues_ = eigenvalues_.clamp_min(0);
  const at::Tensor with_scores = sums.slice(0, 0, width).select(1, width) / n - mean_ * mean_score_;
  projected_ = torch::mv(eigenvectors_.t(), with_scores * scale_);
}

LinearFunction Ridge::solve(double alpha) const {
  CSKD_CHECK(alpha > 0, "a penalty of {}", alpha);
  const at::Tensor weights = torch::mv(eigenvectors_, projected_ / (eigenvalues_ + alpha)) * scale_;
  return {.weights = weights, .intercept = mean_score_ - torch::dot(weights, mean_).item<double>()};
}

double squared_error(const LinearFunction& function, const at::Tensor& sums) {
  const at::Tensor residual =
      torch::cat({function.weights, torch::tensor(std::vector<double>{-1, function.intercept}, at::kDouble)});
  return std::max(0.0, torch::dot(residual, torch::mv(sums, residual)).item<double>());
}

const std::vector<double>& penalties() {
  static const std::vector<double> all = [] {
    std::vector<double> made;
    for (int i = 0; i <= 18; ++i) made.push_back(std::pow(10.0, -6 + 0.5 * i));
    return made;
  }();
  return all;
}

ChosenRidge cross_validated_ridge(const std::vector<at::Tensor>& folds) {
  CSKD_CHECK(folds.size() >= 2, "{} folds", folds.size());
  at::Tensor all = torch::zeros_like(folds.front());
  for (const at::Tensor& fold : folds) all += fold;
  std::vector<double> errors(penalties().size());
  for (const at::Tensor& fold : folds) {
    const Ridge others(all - fold);
    for (std::size_t i = 0; i < errors.size(); ++i) errors[i] += squared_error(others.solve(penalties()[i]), fold);
  }
  std::size_t best = 0;
  for (std::size_t i = 1; i < errors.size(); ++i) {
    if (errors[i] <= errors[best]) best = i;
  }
  const std::int64_t last = all.size(0) - 1;
  const auto of = [&](std::int64_t row, std::int64_t column) { return all[row][column].item<double>(); };
  const double squares = of(last - 1, last - 1) - of(last - 1, last) * of(last - 1, last) / of(last, last);
  return {.function = Ridge(all).solve(penalties()[best]),
          .alpha = penalties()[best],
          .r2 = squares > 0 ? 1 - errors[best] / squares : std::numeric_limits<double>::quiet_NaN()};
}

}  // namespace cskd::optim

#include "optim/ridge_regression.h"

#include <cmath>
#include <limits>

#include <gtest/gtest.h>
#include <torch/types.h>
#include <torch/utils.h>

namespace cskd::optim {
namespace {

struct Pictures {
  at::Tensor features, scores;
};

Pictures pictures(std::int64_t count, std::int64_t width, double noise = 0.3) {
  torch::manual_seed(3);
  const at::Tensor features =
      torch::randn({count, width}, at::kDouble) * torch::linspace(0.1, 4, width, at::kDouble) + 5;
  const at::Tensor scores =
      torch::mv(features, torch::linspace(-1, 1, width, at::kDouble)) + noise * torch::randn({count}, at::kDouble) + 2;
  return {features, scores};
}

// Solves (X^T X + n alpha I) w = X^T y on standardised features.
LinearFunction direct(const Pictures& known, double alpha) {
  const at::Tensor mean = known.features.mean(0);
  const at::Tensor deviation = known.features.std(0, false);
  const at::Tensor x = (known.features - mean) / deviation;
  const at::Tensor y = known.scores - known.scores.mean();
  const at::Tensor penalty =
      alpha * static_cast<double>(x.size(0)) * torch::eye(x.size(1), torch::TensorOptions(at::kDouble));
  const at::Tensor weights = torch::linalg_solve(torch::matmul(x.t(), x) + penalty, torch::mv(x.t(), y)) / deviation;
  return {.weights = weights,
          .intercept = known.scores.mean().item<double>() - torch::dot(weights, mean).item<double>()};
}

TEST(Ridge, EqualsADirectSolve) {
  for (const auto& [count, width] : {std::pair(50, 6), std::pair(6, 20)}) {
    const Pictures known = pictures(count, width);
    const Ridge ridge(ridge_sums(known.features, known.scores));
    for (const double alpha : {1e-3, 1.0, 100.0}) {
      const LinearFunction found = ridge.solve(alpha);
      const LinearFunction expected = direct(known, alpha);
      EXPECT_TRUE(torch::allclose(found.weights, expected.weights, 1e-7, 1e-9)) << count << " " << alpha;
      EXPECT_NEAR(found.intercept, expected.intercept, 1e-7);
    }
  }
}

TEST(Ridge, GivesAConstantFeatureNoWeight) {
  Pictures known = pictures(50, 4);
  known.features.select(1, 2).fill_(1234.5678);
  const LinearFunction found = Ridge(ridge_sums(known.features, known.scores)).solve(1e-6);
  EXPECT_EQ(found.weights[2].item<double>(), 0);
  EXPECT_TRUE(found.weights.isfinite().all().item<bool>());
}

TEST(RidgeSums, OfTwoSetsAddUp) {
  const Pictures known = pictures(30, 4);
  const at::Tensor both = ridge_sums(known.features.slice(0, 0, 13), known.scores.slice(0, 0, 13)) +
                          ridge_sums(known.features.slice(0, 13), known.scores.slice(0, 13));
  EXPECT_TRUE(torch::allclose(both, ridge_sums(known.features, known.scores)));
}

TEST(SquaredError, IsThatOfThePictures) {
  const Pictures known = pictures(40, 5);
  const LinearFunction function{.weights = torch::linspace(0, 1, 5, at::kDouble), .intercept = -0.5};
  const double expected = (known.scores - function(known.features)).square().sum().item<double>();
  EXPECT_NEAR(squared_error(function, ridge_sums(known.features, known.scores)), expected, 1e-8 * expected);
}

TEST(CrossValidatedRidge, ChoosesWhatPredictsTheFoldThatWasLeftOut) {
  constexpr int kFolds = 4;
  const Pictures known = pictures(60, 12, 6);
  std::vector<at::Tensor> folds;
  for (int fold = 0; fold < kFolds; ++fold) {
    folds.push_back(ridge_sums(known.features.slice(0, fold, torch::indexing::None, kFolds),
                               known.scores.slice(0, fold, torch::indexing::None, kFolds)));
  }
  double best = 0;
  double least = std::numeric_limits<double>::infinity();
  for (const double alpha : penalties()) {
    double error = 0;
    for (int fold = 0; fold < kFolds; ++fold) {
      const at::Tensor is_left_out = torch::arange(60).remainder(kFolds).eq(fold);
      const Pictures others{known.features.index({~is_left_out}), known.scores.index({~is_left_out})};
      error += (known.scores.index({is_left_out}) - direct(others, alpha)(known.features.index({is_left_out})))
                   .square()
                   .sum()
                   .item<double>();
    }
    if (error > least) continue;
    least = error;
    best = alpha;
  }
  const ChosenRidge chosen = cross_validated_ridge(folds);
  EXPECT_DOUBLE_EQ(chosen.alpha, best);
  EXPECT_GT(best, penalties().front());
  EXPECT_LT(best, penalties().back());
  EXPECT_TRUE(torch::allclose(chosen.function.weights, direct(known, best).weights, 1e-7, 1e-9));
  EXPECT_NEAR(chosen.r2, 1 - least / (known.scores - known.scores.mean()).square().sum().item<double>(), 1e-9);
}

TEST(Penalties, AreEvenOnALogarithmicScale) {
  ASSERT_EQ(penalties().size(), 19U);
  EXPECT_DOUBLE_EQ(penalties().front(), 1e-6);
  EXPECT_DOUBLE_EQ(penalties().back(), 1e3);
  EXPECT_NEAR(penalties()[1] / penalties()[0], std::sqrt(10.0), 1e-9);
}

}  // namespace
}  // namespace cskd::optim

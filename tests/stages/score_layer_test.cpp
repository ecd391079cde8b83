// The head that a ridge becomes: a distribution over bins from a linear function.
#include <cmath>
#include <utility>

#include <gtest/gtest.h>
#include <torch/types.h>

#include "stages/ridge.h"

namespace cskd::stages {
namespace {

const std::vector<double> kTenBins{1, 2, 3, 4, 5, 6, 7, 8, 9, 10};

// Of a function that gives a feature vector of one number back.
at::Tensor distributions(const at::Tensor& means, double width, const std::vector<double>& centres) {
  const optim::LinearFunction same{.weights = torch::ones({1}, at::kDouble), .intercept = 0};
  const ScoreLayer layer = score_layer(same, centres, width);
  return torch::softmax(torch::matmul(means.unsqueeze(1), layer.weight.t()) + layer.bias, 1);
}

TEST(ScoreLayer, IsTheNormalDensityAtTheBins) {
  for (const auto& [mean, width] : {std::pair(5.3, 1.4), std::pair(1.2, 0.75), std::pair(12.0, 2.0)}) {
    const at::Tensor found = distributions(torch::full({1}, mean, at::kDouble), width, kTenBins)[0];
    double total = 0;
    for (const double centre : kTenBins) total += std::exp(-std::pow((centre - mean) / width, 2) / 2);
    for (std::size_t k = 0; k < kTenBins.size(); ++k) {
      EXPECT_NEAR(found[static_cast<std::int64_t>(k)].item<double>(),
                  std::exp(-std::pow((kTenBins[k] - mean) / width, 2) / 2) / total, 1e-12);
    }
  }
}

TEST(ScoreLayer, HasTheMeanOfTheFunctionAwayFromTheEnds) {
  for (const double width : {0.77, 1.0, 1.4}) {
    const at::Tensor means = torch::linspace(1 + 3 * width, 10 - 3 * width, 101, at::kDouble);
    const at::Tensor found = torch::mv(distributions(means, width, kTenBins), torch::tensor(kTenBins, at::kDouble));
    EXPECT_LT((found - means).abs().max().item<double>(), 0.01) << width;
  }
}

TEST(ScoreLayer, RisesWithTheFunctionEverywhere) {
  const at::Tensor means = torch::linspace(-5, 16, 2001, at::kDouble);
  const at::Tensor found = torch::mv(distributions(means, 1.4, kTenBins), torch::tensor(kTenBins, at::kDouble));
  EXPECT_GT((found.slice(0, 1) - found.slice(0, 0, -1)).min().item<double>(), 0);
}

TEST(RatingWidth, IsTheRootOfTheMeanVariance) {
  // Variances 1 and 4 about means 3 and 5.
  at::Tensor labels = torch::zeros({2, 10}, at::kDouble);
  labels[0][1] = labels[0][3] = 0.5;
  labels[1][2] = labels[1][6] = 0.5;
  EXPECT_NEAR(rating_width(labels, kTenBins), std::sqrt(2.5), 1e-12);
}

TEST(RatingWidth, LeavesAMeanBetweenBinsWhereRatersAgree) {
  at::Tensor labels = torch::zeros({1, 3}, at::kDouble);
  labels[0][1] = 1;
  EXPECT_NEAR(rating_width(labels, {0, 50, 100}), 37.5, 1e-12);
}

}  // namespace
}  // namespace cskd::stages

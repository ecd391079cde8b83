// Losses of features and of score distributions against closed forms.
#include <cmath>

#include <gtest/gtest.h>
#include <torch/types.h>
#include <torch/utils.h>

#include "losses/alignment.h"
#include "losses/distribution.h"

namespace cskd {
namespace {

TEST(SquaredEmd, IsTheFormula) {
  const at::Tensor p = torch::tensor({{1.0, 0.0, 0.0}, {0.2, 0.5, 0.3}});
  const at::Tensor q = torch::tensor({{0.0, 0.0, 1.0}, {0.2, 0.5, 0.3}});
  const at::Tensor emd = losses::squared_emd(p, q);
  EXPECT_NEAR(emd[0].item<double>(), 2.0 / 3, 1e-6);  // CDF differences 1, 1, 0
  EXPECT_NEAR(emd[1].item<double>(), 0, 1e-12);
}

TEST(PseudoLabelWeight, FallsWithTheVarianceOverViews) {
  const at::Tensor scores = torch::tensor({{5.0, 5.0}, {4.0, 6.0}});
  const at::Tensor weight = losses::pseudo_label_weight(scores, 0.5);
  EXPECT_NEAR(weight[0].item<double>(), 1, 1e-6);
  EXPECT_NEAR(weight[1].item<double>(), std::exp(-0.5), 1e-6);
}

TEST(MeanScore, WeighsBinCentres) {
  EXPECT_NEAR(losses::mean_score(torch::tensor({{0.25, 0.75}}), torch::tensor({1.0, 3.0})).item<double>(), 2.5, 1e-6);
}

TEST(WhitenedSmoothL1, IsQuadraticBelowTwoAndLinearAbove) {
  const at::Tensor target = torch::tensor({{-1.0, 1.0}});  // whitens to itself, nearly
  const double small = losses::whitened_smooth_l1(torch::tensor({{0.0, 1.0}}), target).item<double>();
  EXPECT_NEAR(small, (1.0 / 4) / 2, 1e-4);
  const double large = losses::whitened_smooth_l1(torch::tensor({{-1.0, 11.0}}), target).item<double>();
  EXPECT_NEAR(large, (10.0 - 1) / 2, 1e-4);
}

TEST(CosineDistance, IsZeroForTheWhitenedTargetItself) {
  const at::Tensor target = torch::randn({4, 8}) * 3 + 5;
  EXPECT_NEAR(losses::cosine_distance(losses::whiten(target) * 2, target).item<double>(), 0, 1e-5);
  EXPECT_NEAR(losses::cosine_distance(-losses::whiten(target), target).item<double>(), 2, 1e-5);
}

// Cosines 1 and 0 to two others against 0.6 and 0.8, at temperature 0.5.
TEST(RelationalDistance, IsTheDivergenceOfSimilaritiesToOthers) {
  const at::Tensor target = torch::tensor({{3.0, 1.0}});  // whitened (1, -1), nearly
  const at::Tensor others = torch::tensor({{1.0, -1.0}, {1.0, 1.0}}) / std::sqrt(2.0);
  const at::Tensor predicted = torch::tensor({{7.0, 1.0}});  // of cosines 0.6 and 0.8
  const auto share = [](double a, double b) { return std::exp(a / 0.5) / (std::exp(a / 0.5) + std::exp(b / 0.5)); };
  const double p = share(1, 0);
  const double q = share(0.6, 0.8);
  EXPECT_NEAR(losses::relational_distance(predicted, target, others, 0.5).item<double>(),
              p * std::log(p / q) + (1 - p) * std::log((1 - p) / (1 - q)), 1e-5);
}

TEST(RelationalDistance, IsZeroForTheTargetItselfAndAmongNoOthers) {
  const at::Tensor target = torch::randn({4, 8}) * 3 + 5;
  const at::Tensor others = losses::directions(torch::randn({6, 8}));
  EXPECT_NEAR(losses::relational_distance(losses::whiten(target) * 2, target, others, 0.07).item<double>(), 0, 1e-5);
  EXPECT_GT(losses::relational_distance(-losses::whiten(target), target, others, 0.07).item<double>(), 0.1);
  EXPECT_EQ(losses::relational_distance(torch::randn({4, 8}), target, torch::zeros({6, 8}), 0.07).item<double>(), 0);
}

TEST(RelationalDistance, HasTheGradientOfItsDifferences) {
  at::Tensor predicted = torch::randn({3, 5}, torch::kDouble).set_requires_grad(true);
  const at::Tensor target = torch::randn({3, 5}, torch::kDouble);
  const at::Tensor others = losses::directions(torch::randn({7, 5}, torch::kDouble));
  losses::relational_distance(predicted, target, others, 0.3).backward();
  constexpr double kStep = 1e-6;
  for (std::int64_t i = 0; i < predicted.numel(); ++i) {
    const auto at_offset = [&](double offset) {
      at::Tensor moved = predicted.detach().clone();
      moved.view(-1)[i] += offset;
      return losses::relational_distance(moved, target, others, 0.3).item<double>();
    };
    EXPECT_NEAR(predicted.grad().view(-1)[i].item<double>(), (at_offset(kStep) - at_offset(-kStep)) / (2 * kStep),
                1e-7);
  }
}

TEST(Tokens, LossesAreMeansOverAllPlaces) {
  const at::Tensor target = torch::randn({2, 9, 8}) * 3 + 5;
  const at::Tensor predicted = torch::randn({2, 9, 8});
  EXPECT_NEAR(losses::whitened_smooth_l1(predicted, target).item<double>(),
              losses::whitened_smooth_l1(predicted.flatten(0, 1), target.flatten(0, 1)).item<double>(), 1e-6);
  EXPECT_NEAR(losses::cosine_distance(predicted, target).item<double>(),
              losses::cosine_distance(predicted.flatten(0, 1), target.flatten(0, 1)).item<double>(), 1e-6);
}

TEST(Tokens, OfACoarserGridAreMeansOfNeighbours) {
  // Number of the place, row by row, in the first channel; its square in the second.
  const at::Tensor place = torch::arange(16, torch::kFloat);
  const at::Tensor tokens = torch::stack({place, place * place}, 1).unsqueeze(0);
  const at::Tensor coarse = losses::on_grid(tokens, 4, 2);
  const auto square_mean = [](double a) {
    return (a * a + (a + 1) * (a + 1) + (a + 4) * (a + 4) + (a + 5) * (a + 5)) / 4;
  };
  const std::vector<double> corners{0, 2, 8, 10};
  for (std::int64_t i = 0; i < 4; ++i) {
    EXPECT_NEAR(coarse[0][i][0].item<double>(), corners[static_cast<std::size_t>(i)] + 2.5, 1e-5);
    EXPECT_NEAR(coarse[0][i][1].item<double>(), square_mean(corners[static_cast<std::size_t>(i)]), 1e-4);
  }
  EXPECT_TRUE(losses::on_grid(tokens, 4, 4).equal(tokens));
}

}  // namespace
}  // namespace cskd

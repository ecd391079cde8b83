#include "analysis/collapse_measures.h"

#include <cmath>

#include <gtest/gtest.h>
#include <torch/types.h>

#include "tests/analysis/random_tensor.h"

namespace cskd::analysis {
namespace {

using tests::random;

double rank_of(const at::Tensor& features) {
  return rank_me(singular_values(feature_sums(features).products, features.size(0)));
}

TEST(SingularValues, AreThoseOfTheMatrix) {
  for (const auto& [rows, width] : {std::pair(20, 6), std::pair(6, 20)}) {
    const at::Tensor features = random({rows, width});
    const at::Tensor found = singular_values(feature_sums(features).products, rows);
    EXPECT_TRUE(torch::allclose(found, torch::linalg_svdvals(features), 1e-9, 1e-9)) << rows << " rows";
  }
}

TEST(RankMe, IsTheNumberOfEvenDirections) {
  EXPECT_NEAR(rank_of(torch::eye(8, at::kDouble).repeat({3, 1})), 8, 1e-4);
  EXPECT_NEAR(rank_of(torch::ones({8, 5}, at::kDouble)), 1, 1e-3);
  // Singular values 3 and 1: p = 3/4, 1/4.
  const at::Tensor uneven = torch::diag(torch::tensor({3.0, 1.0}, at::kDouble));
  EXPECT_NEAR(rank_of(uneven), std::exp(-0.75 * std::log(0.75) - 0.25 * std::log(0.25)), 1e-5);
}

TEST(DirectionStd, IsTheIdealOfEvenDirectionsAndNothingWhenCollapsed) {
  const at::Tensor even = torch::cat({torch::eye(4, at::kDouble), -torch::eye(4, at::kDouble)});
  EXPECT_NEAR(direction_std(feature_sums(5 * even), 8), 0.5, 1e-12);
  EXPECT_NEAR(direction_std(feature_sums(torch::ones({8, 5}, at::kDouble)), 8), 0, 1e-7);
}

TEST(DirectionStd, IsThatOfNormalisedFeatures) {
  const at::Tensor features = random({30, 7});
  const at::Tensor unit = features / features.norm(2, {1}, true);
  EXPECT_NEAR(direction_std(feature_sums(features), 30), unit.std(0, false).mean().item<double>(), 1e-12);
}

TEST(Uniformity, IsTheLogOfTheMeanPotentialOfDifferentPictures) {
  const at::Tensor unit = directions(random({2500, 3}));  // more rows than are taken at a time
  const at::Tensor distances = torch::pdist(unit);
  const double expected = (-2 * distances.square()).exp().mean().log().item<double>();
  EXPECT_NEAR(uniformity(pair_potential(unit, unit), 2500), expected, 1e-9);
}

TEST(Uniformity, IsNothingWhenCollapsedAndMinusEightOfOppositePictures) {
  const at::Tensor same = directions(torch::ones({4, 3}, at::kDouble));
  EXPECT_NEAR(uniformity(pair_potential(same, same), 4), 0, 1e-9);
  const at::Tensor opposite = torch::tensor({{1.0, 0.0}, {-1.0, 0.0}}, at::kDouble);
  EXPECT_NEAR(uniformity(pair_potential(opposite, opposite), 2), -8, 1e-9);
}

double cka_of(const at::Tensor& x, const at::Tensor& y) {
  return linear_cka(feature_sums(x), feature_sums(y), torch::matmul(x.t(), y), x.size(0));
}

TEST(LinearCka, IsOneForTurnedScaledAndShiftedFeatures) {
  const at::Tensor x = random({40, 5});
  const auto [turn, rest] = torch::linalg_qr(random({5, 5}, 2));
  EXPECT_NEAR(cka_of(x, 3 * torch::matmul(x, turn) + 7), 1, 1e-9);
}

TEST(LinearCka, IsTheFormulaOnCentredFeatures) {
  const at::Tensor x = random({40, 5}, 1) + 2;
  const at::Tensor y = random({40, 3}, 2) - 1;
  const at::Tensor a = x - x.mean(0);
  const at::Tensor b = y - y.mean(0);
  // As a ratio of Gram matrices of pictures: HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L)).
  const at::Tensor k = torch::matmul(a, a.t());
  const at::Tensor l = torch::matmul(b, b.t());
  EXPECT_NEAR(cka_of(x, y), ((k * l).sum() / (k.norm() * l.norm())).item<double>(), 1e-10);
}

TEST(LinearCka, IsUndefinedForAConstant) {
  EXPECT_TRUE(std::isnan(cka_of(random({40, 5}), torch::full({40, 3}, 1.7, at::kDouble))));
}

TEST(FeatureSums, OfTwoSetsAddUp) {
  const at::Tensor features = random({30, 4});
  const FeatureSums all = feature_sums(features);
  const FeatureSums first = feature_sums(features.slice(0, 0, 11));
  const FeatureSums second = feature_sums(features.slice(0, 11));
  EXPECT_TRUE(torch::allclose(all.products, first.products + second.products));
  EXPECT_TRUE(torch::allclose(all.direction_squares, first.direction_squares + second.direction_squares));
}

TEST(FeatureSums, OfNoPictureAreNothing) {
  EXPECT_EQ(feature_sums(torch::zeros({0, 4})).products.abs().sum().item<double>(), 0);
  EXPECT_EQ(pair_potential(torch::zeros({0, 4}, at::kDouble), random({3, 4})), 0);
}

}  // namespace
}  // namespace cskd::analysis

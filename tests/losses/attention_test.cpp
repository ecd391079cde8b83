// Attention distances, and the distance of a student's from a reference's, against closed forms and differences.
#include "losses/attention.h"

#include <cmath>

#include <gtest/gtest.h>
#include <torch/types.h>
#include <torch/utils.h>

#include "runtime/check.h"

namespace cskd::losses {
namespace {

at::Tensor random_floats(at::IntArrayRef shape, std::uint64_t seed = 1) {
  torch::manual_seed(seed);
  return torch::randn(shape);
}

at::Tensor random_maps(std::int64_t pictures, std::int64_t heads, int grid) {
  return torch::softmax(2 * random_floats({pictures, heads, std::int64_t{grid} * grid, std::int64_t{grid} * grid}), 3);
}

double place_distance(int grid, int q, int k) {
  return std::hypot(q / grid - k / grid, q % grid - k % grid) / (std::sqrt(2.0) * (grid - 1));
}

TEST(PatchPlaces, FindsOtherTokensAndFinerGrids) {
  EXPECT_EQ(patch_places(64, 8).prefix, 0);
  EXPECT_EQ(patch_places(65, 8).prefix, 1);
  EXPECT_EQ(patch_places(69, 8).prefix, 5);
  EXPECT_EQ(patch_places(69, 8).grid, 8);
  EXPECT_EQ(patch_places(256, 8).prefix, 0);
  EXPECT_EQ(patch_places(256, 8).grid, 16);
  EXPECT_EQ(patch_places(2, 1).prefix, 1);
  EXPECT_THROW(patch_places(63, 8), runtime::CheckFailure);
}

TEST(PatchAttention, IsTheWholeSoftmaxWithoutOtherTokensRenormalised) {
  const at::Tensor queries = random_floats({2, 3, 10, 4}, 1);
  const at::Tensor keys = random_floats({2, 3, 10, 4}, 2);
  const at::Tensor whole = torch::softmax(torch::matmul(queries, keys.transpose(2, 3)) / 2, 3);
  const at::Tensor part = whole.slice(2, 1).slice(3, 1);
  const at::Tensor found = patch_attention(queries, keys, {.prefix = 1, .grid = 3});
  EXPECT_TRUE(torch::allclose(found, part / part.sum(3, true), 1e-5, 1e-6));
}

TEST(AttentionDistance, IsTheFormula) {
  constexpr int kGrid = 3;
  const at::Tensor maps = random_maps(2, 2, kGrid);
  const at::Tensor found = attention_distance(maps, patch_distances(kGrid));
  for (int picture = 0; picture < 2; ++picture) {
    for (int head = 0; head < 2; ++head) {
      double sum = 0;
      for (int q = 0; q < kGrid * kGrid; ++q) {
        for (int k = 0; k < kGrid * kGrid; ++k)
          sum += maps[picture][head][q][k].item<double>() * place_distance(kGrid, q, k);
      }
      EXPECT_NEAR(found[picture][head].item<double>(), sum / (kGrid * kGrid), 1e-6);
    }
  }
}

TEST(AttentionDistance, IsNothingOfASelfAndOneBetweenOppositeCorners) {
  const at::Tensor self = torch::eye(16).reshape({1, 1, 16, 16});
  EXPECT_EQ(attention_distance(self, patch_distances(4)).item<double>(), 0);
  EXPECT_NEAR(patch_distances(4)[0][15].item<double>(), 1, 1e-6);
  EXPECT_NEAR(patch_distances(4)[3][12].item<double>(), 1, 1e-6);
}

TEST(TokenAffinity, LeavesTheTokenItselfOut) {
  const at::Tensor maps = token_affinity(random_floats({2, 16, 5}), 4, 4);
  EXPECT_EQ(maps.sizes(), (std::vector<std::int64_t>{2, 1, 16, 16}));
  EXPECT_EQ(maps.diagonal(0, 2, 3).abs().max().item<double>(), 0);
  EXPECT_TRUE(torch::allclose(maps.sum(3), torch::ones({2, 1, 16})));
}

TEST(TokenAffinity, IsTheSoftmaxOfCosinesOverATenth) {
  const at::Tensor tokens = random_floats({1, 4, 3});
  const at::Tensor maps = token_affinity(tokens, 2, 2);
  const auto cosine = [&](int a, int b) {
    return (torch::dot(tokens[0][a], tokens[0][b]) / (tokens[0][a].norm() * tokens[0][b].norm())).item<double>();
  };
  double sum = 0;
  for (const int k : {0, 1, 3}) sum += std::exp(cosine(2, k) / 0.1);
  for (const int k : {0, 1, 3}) EXPECT_NEAR(maps[0][0][2][k].item<double>(), std::exp(cosine(2, k) / 0.1) / sum, 1e-5);
}

TEST(TokenAffinity, PoolsToASmallerGrid) {
  const at::Tensor tokens = random_floats({1, 16, 3});
  // The mean of each quarter.
  const at::Tensor map = tokens.reshape({1, 2, 2, 2, 2, 3}).mean(at::IntArrayRef{2, 4}).reshape({1, 4, 3});
  EXPECT_TRUE(torch::allclose(token_affinity(tokens, 4, 2), token_affinity(map, 2, 2), 1e-4, 1e-6));
  EXPECT_THROW(token_affinity(tokens, 4, 5), runtime::CheckFailure);
  EXPECT_THROW(token_affinity(tokens, 4, 1), runtime::CheckFailure);
}

TEST(AttentionDistance, HasTheGradientOfItsFormula) {
  // dD / dA_qk = |pos_q - pos_k| / N.
  const at::Tensor maps = random_maps(1, 2, 3).requires_grad_();
  attention_distance(maps, patch_distances(3)).sum().backward();
  EXPECT_TRUE(torch::allclose(maps.grad()[0][1], patch_distances(3) / 9));
}

TEST(DistanceOfMoments, IsTheFormulaOverHeadsOfAnyNumber) {
  // One picture, two layers: heads of 1, 3 and 2, 2 against 2, 2, 5 and 0, 0, 3.
  const at::Tensor student = torch::tensor({{{1.0, 3.0}, {2.0, 2.0}}}, at::kDouble);
  const at::Tensor reference = torch::tensor({{{2.0, 2.0, 5.0}, {0.0, 0.0, 3.0}}}, at::kDouble);
  const double first = std::abs(2 - 3.0) + 0.5 * std::abs(1 - std::sqrt(2.0));
  const double second = std::abs(2 - 1.0) + 0.5 * std::abs(0 - std::sqrt(2.0));
  EXPECT_NEAR(distance_of_moments(student, reference).item<double>(), (first + second) / 2, 1e-5);
  EXPECT_EQ(distance_of_moments(student, student).item<double>(), 0);
  EXPECT_THROW(distance_of_moments(student, reference.slice(1, 0, 1)), runtime::CheckFailure);
}

TEST(DistanceOfMoments, HasTheGradientOfItsDifferences) {
  const at::Tensor reference = random_floats({2, 3, 4}, 1).to(at::kDouble);
  const at::Tensor student = random_floats({2, 3, 2}, 2).to(at::kDouble).requires_grad_();
  distance_of_moments(student, reference).backward();
  const torch::NoGradGuard no_gradients;
  constexpr double kStep = 1e-6;
  for (const std::int64_t at : {std::int64_t{0}, std::int64_t{5}, std::int64_t{11}}) {
    const auto moved = [&](double by) {
      const at::Tensor other = student.clone();
      other.view({-1})[at] += by;
      return distance_of_moments(other, reference).item<double>();
    };
    EXPECT_NEAR(student.grad().view({-1})[at].item<double>(), (moved(kStep) - moved(-kStep)) / (2 * kStep), 1e-6);
  }
}

TEST(DistanceOfMoments, HasAGradientWhereHeadsAreAlikeOrAlone) {
  for (const std::int64_t heads : {1, 3}) {
    const at::Tensor student = torch::full({1, 1, heads}, 0.5, at::kDouble).requires_grad_();
    distance_of_moments(student, torch::full({1, 1, 2}, 0.25, at::kDouble)).backward();
    EXPECT_TRUE(torch::allclose(student.grad(), torch::full_like(student, 1.0 / static_cast<double>(heads))));
  }
}

}  // namespace
}  // namespace cskd::losses

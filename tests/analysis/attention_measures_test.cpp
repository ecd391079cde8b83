#include "analysis/attention_measures.h"

#include <cmath>

#include <gtest/gtest.h>
#include <torch/types.h>

#include "runtime/check.h"
#include "tests/analysis/random_tensor.h"

namespace cskd::analysis {
namespace {

// Maps are float32.
at::Tensor random_floats(at::IntArrayRef shape, std::uint64_t seed = 1) {
  return tests::random(shape, seed).to(torch::kFloat);
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
  const models::Attention attention{.queries = random_floats({2, 3, 10, 4}, 1),
                                    .keys = random_floats({2, 3, 10, 4}, 2)};
  const at::Tensor whole = torch::softmax(torch::matmul(attention.queries, attention.keys.transpose(2, 3)) / 2, 3);
  const at::Tensor part = whole.slice(2, 1).slice(3, 1);
  const at::Tensor found = patch_attention(attention, {.prefix = 1, .grid = 3});
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

TEST(AttentionEntropy, IsLogNOfUniformMapsAndNothingOfASelf) {
  EXPECT_NEAR(attention_entropy(torch::full({1, 1, 16, 16}, 1.0 / 16)).item<double>(), std::log(16.0), 1e-6);
  EXPECT_EQ(attention_entropy(torch::eye(16).reshape({1, 1, 16, 16})).item<double>(), 0);
}

TEST(HeadSimilarity, IsTheMeanCosineOfAllPairs) {
  const at::Tensor maps = random_maps(2, 4, 3);
  const at::Tensor found = head_similarity(maps);
  for (int picture = 0; picture < 2; ++picture) {
    double sum = 0;
    for (int a = 0; a < 4; ++a) {
      for (int b = a + 1; b < 4; ++b) {
        const at::Tensor x = maps[picture][a].flatten();
        const at::Tensor y = maps[picture][b].flatten();
        sum += (torch::dot(x, y) / (x.norm() * y.norm())).item<double>();
      }
    }
    EXPECT_NEAR(found[picture].item<double>(), sum / 6, 1e-6);
  }
  EXPECT_NEAR(head_similarity(random_maps(1, 1, 3).expand({1, 3, 9, 9})).item<double>(), 1, 1e-6);
  EXPECT_TRUE(std::isnan(head_similarity(random_maps(1, 1, 3)).item<double>()));
}

TEST(DistanceHistogram, CountsAttentionByDistance) {
  constexpr int kGrid = 4;
  constexpr int kBins = 6;
  const at::Tensor maps = random_maps(1, 2, kGrid);
  const at::Tensor found = distance_histogram(maps, patch_distances(kGrid), kBins);
  ASSERT_EQ(found.sizes(), (std::vector<std::int64_t>{1, 2, kBins}));
  std::vector<double> expected(kBins);
  for (int q = 0; q < kGrid * kGrid; ++q) {
    for (int k = 0; k < kGrid * kGrid; ++k) {
      const int bin = std::min(kBins - 1, static_cast<int>(place_distance(kGrid, q, k) * kBins + 1e-9));
      expected[static_cast<std::size_t>(bin)] += maps[0][1][q][k].item<double>() / (kGrid * kGrid);
    }
  }
  for (int bin = 0; bin < kBins; ++bin)
    EXPECT_NEAR(found[0][1][bin].item<double>(), expected[static_cast<std::size_t>(bin)], 1e-6);
  EXPECT_NEAR(found[0][0].sum().item<double>(), 1, 1e-6);
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

}  // namespace
}  // namespace cskd::analysis

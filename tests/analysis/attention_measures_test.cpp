#include "analysis/attention_measures.h"

#include <cmath>

#include <gtest/gtest.h>
#include <torch/types.h>

#include "losses/attention.h"
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
  const at::Tensor found = distance_histogram(maps, losses::patch_distances(kGrid), kBins);
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

}  // namespace
}  // namespace cskd::analysis

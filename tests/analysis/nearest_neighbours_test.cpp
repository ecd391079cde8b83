#include "analysis/nearest_neighbours.h"

#include <algorithm>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <torch/types.h>
#include <torch/utils.h>

namespace cskd::analysis {
namespace {

struct Known {
  at::Tensor queries, features, scores;
};

Known known() {
  torch::manual_seed(5);
  // More queries than are taken at a time.
  return {torch::randn({300, 6}), torch::randn({90, 6}), torch::rand({90}, at::kDouble)};
}

double brute_force(const Known& all, std::int64_t query, std::size_t count) {
  std::vector<std::pair<double, double>> found;
  const at::Tensor x = all.queries[query].to(at::kDouble);
  for (std::int64_t row = 0; row < all.features.size(0); ++row) {
    const at::Tensor y = all.features[row].to(at::kDouble);
    found.emplace_back((torch::dot(x, y) / (x.norm() * y.norm())).item<double>(), all.scores[row].item<double>());
  }
  std::sort(found.rbegin(), found.rend());
  double sum = 0;
  for (std::size_t i = 0; i < count; ++i) sum += found[i].second;
  return sum / static_cast<double>(count);
}

TEST(NearestNeighbours, EqualBruteForce) {
  const Known all = known();
  const at::Tensor found = mean_score(nearest_neighbours(all.queries, all.features, all.scores, 7));
  for (const std::int64_t query : {0, 1, 255, 256, 299})
    EXPECT_NEAR(found[query].item<double>(), brute_force(all, query, 7), 1e-12);
}

TEST(NearestNeighbours, AreTheSameFromParts) {
  const Known all = known();
  const Neighbours whole = nearest_neighbours(all.queries, all.features, all.scores, 7);
  // The last part has fewer than are wanted, one has none.
  Neighbours parts = nearest_neighbours(all.queries, all.features.slice(0, 0, 87), all.scores.slice(0, 0, 87), 7);
  for (const auto& [first, end] : {std::pair(87, 90), std::pair(90, 90)}) {
    parts = merged(
        parts, nearest_neighbours(all.queries, all.features.slice(0, first, end), all.scores.slice(0, first, end), 7),
        7);
  }
  EXPECT_TRUE(torch::allclose(parts.similarities, whole.similarities));
  EXPECT_TRUE(torch::equal(parts.scores, whole.scores));
}

TEST(NearestNeighbours, AreAllWhereThereAreFewer) {
  const Known all = known();
  const Neighbours found = nearest_neighbours(all.queries, all.features.slice(0, 0, 3), all.scores.slice(0, 0, 3), 5);
  EXPECT_NEAR(mean_score(found)[0].item<double>(), all.scores.slice(0, 0, 3).mean().item<double>(), 1e-12);
}

}  // namespace
}  // namespace cskd::analysis

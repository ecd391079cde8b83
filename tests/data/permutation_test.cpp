#include "data/permutation.h"

#include <array>
#include <cmath>
#include <map>
#include <set>
#include <vector>

#include <gtest/gtest.h>

namespace cskd::data {
namespace {

TEST(Permutation, TakesEachValueOnce) {
  for (const std::uint64_t size : {1, 2, 3, 4, 5, 16, 17, 100, 1023, 1024, 1025, 5000}) {
    const Permutation order(7, 3, 11, size);
    std::vector<int> seen(size, 0);
    for (std::uint64_t i = 0; i < size; ++i) ++seen.at(order(i));
    for (std::uint64_t value = 0; value < size; ++value) ASSERT_EQ(seen[value], 1) << size << " " << value;
  }
}

TEST(Permutation, StaysInRangeAndDistinctForHugeSizes) {
  const std::uint64_t size = (1ULL << 40) + 12345;
  const Permutation order(1, 1, 1, size);
  std::set<std::uint64_t> values;
  for (std::uint64_t i = 0; i < 20000; ++i) values.insert(order(size - 1 - i * 97));
  EXPECT_EQ(values.size(), 20000U);
  EXPECT_LT(*values.rbegin(), size);
}

TEST(Permutation, DependsOnSeedStreamAndItem) {
  const auto values = [](std::uint64_t seed, std::uint32_t stream, std::uint64_t item) {
    const Permutation order(seed, stream, item, 1000);
    std::vector<std::uint64_t> result;
    for (std::uint64_t i = 0; i < 1000; ++i) result.push_back(order(i));
    return result;
  };
  EXPECT_EQ(values(1, 2, 3), values(1, 2, 3));
  EXPECT_NE(values(1, 2, 3), values(2, 2, 3));
  EXPECT_NE(values(1, 2, 3), values(1, 3, 3));
  EXPECT_NE(values(1, 2, 3), values(1, 2, 4));
}

// Of a random order of n, the number of i with value(i + 1) == value(i) + 1 is Poisson with mean 1, and positions and
// values do not correlate: |r| < 4 / sqrt(n).
TEST(Permutation, LooksLikeAShuffle) {
  constexpr std::uint64_t kSize = 100'000;
  for (std::uint64_t seed = 0; seed < 5; ++seed) {
    const Permutation order(seed, 0, 0, kSize);
    int neighbours = 0;
    double covariance = 0;
    const double middle = (kSize - 1) / 2.0;
    for (std::uint64_t i = 0; i < kSize; ++i) {
      if (i > 0 && order(i) == order(i - 1) + 1) ++neighbours;
      covariance += (static_cast<double>(i) - middle) * (static_cast<double>(order(i)) - middle);
    }
    const double variance = (static_cast<double>(kSize) * kSize - 1) / 12;
    EXPECT_LT(std::abs(covariance / kSize / variance), 4 / std::sqrt(kSize)) << seed;
    EXPECT_LE(neighbours, 8) << seed;
  }
}

// All orders of four come equally often: chi-square with 23 degrees of freedom, mean 23, deviation sqrt(46).
TEST(Permutation, OrdersOfAFewAreEquallyLikely) {
  std::map<std::array<std::uint64_t, 4>, int> counts;
  constexpr int kDraws = 24'000;
  for (std::uint64_t item = 0; item < kDraws; ++item) {
    const Permutation order(3, 0, item, 4);
    ++counts[{order(0), order(1), order(2), order(3)}];
  }
  double chi_square = 1000 * (24 - static_cast<double>(counts.size()));  // of those that never came
  for (const auto& [values, count] : counts) chi_square += (count - 1000.0) * (count - 1000.0) / 1000;
  EXPECT_LT(chi_square, 23 + 5 * std::sqrt(46));
}

}  // namespace
}  // namespace cskd::data

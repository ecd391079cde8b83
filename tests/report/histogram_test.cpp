#include "report/histogram.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace cskd::report {
namespace {

using Limits = std::numeric_limits<float>;
using testing::ElementsAre;
using testing::IsEmpty;

TEST(Histogram, CountsEqualBucketsFromTheSmallestToTheLargest) {
  std::vector<float> values;
  for (int i = 0; i <= 128; ++i) values.push_back(static_cast<float>(i) / 2 - 16);  // -16 to 48
  const Histogram histogram = make_histogram(values);
  EXPECT_EQ(histogram.min, -16);
  EXPECT_EQ(histogram.max, 48);
  EXPECT_EQ(histogram.count, 129);
  EXPECT_EQ(histogram.sum, 129 * 16);
  // sum of (16 + i/2)^2 for i from -64 to 64
  EXPECT_EQ(histogram.sum_squares, 129 * 256 + 2 * 64.0 * 65 * 129 / 6 / 4);
  ASSERT_EQ(histogram.bucket_limits.size(), kHistogramBuckets);
  for (std::size_t i = 0; i < kHistogramBuckets; ++i)
    EXPECT_EQ(histogram.bucket_limits[i], -15 + static_cast<double>(i));
  std::vector<double> expected(kHistogramBuckets, 2);
  expected.back() = 3;  // with the largest itself
  EXPECT_EQ(histogram.bucket_counts, expected);
  EXPECT_EQ(histogram.non_finite, 0U);
}

TEST(Histogram, LeavesOutWhatIsNotFinite) {
  const std::vector<float> finite{1, 2, 5};
  const std::vector<float> all{Limits::quiet_NaN(), 1, Limits::infinity(), 2, -Limits::infinity(), 5};
  const Histogram expected = make_histogram(finite);
  const Histogram histogram = make_histogram(all);
  EXPECT_EQ(histogram.non_finite, 3U);
  EXPECT_EQ(histogram.count, 3);
  EXPECT_EQ(histogram.sum, 8);
  EXPECT_EQ(histogram.sum_squares, 30);
  EXPECT_EQ(histogram.bucket_limits, expected.bucket_limits);
  EXPECT_EQ(histogram.bucket_counts, expected.bucket_counts);
}

TEST(Histogram, OfNothingHasNoBuckets) {
  for (const std::vector<float>& values : {std::vector<float>{}, std::vector<float>{Limits::quiet_NaN()}}) {
    const Histogram histogram = make_histogram(values);
    EXPECT_EQ(histogram.count, 0);
    EXPECT_EQ(histogram.non_finite, values.size());
    EXPECT_THAT(histogram.bucket_limits, IsEmpty());
    EXPECT_THAT(histogram.bucket_counts, IsEmpty());
  }
}

TEST(Histogram, OfEqualValuesHasOneBucket) {
  const Histogram histogram = make_histogram(std::vector<float>{3, 3, 3});
  EXPECT_THAT(histogram.bucket_limits, ElementsAre(3));
  EXPECT_THAT(histogram.bucket_counts, ElementsAre(3));
}

TEST(Histogram, HoldsForExtremeValues) {
  const std::vector<std::vector<float>> cases{{-Limits::max(), Limits::max()},
                                              {0, Limits::denorm_min()},
                                              {1, std::nextafter(1.0F, 2.0F)},
                                              {Limits::max(), std::nextafter(Limits::max(), 0.0F)}};
  for (const std::vector<float>& values : cases) {
    const Histogram histogram = make_histogram(values);
    EXPECT_TRUE(std::is_sorted(histogram.bucket_limits.begin(), histogram.bucket_limits.end(), std::less_equal<>()));
    EXPECT_EQ(histogram.bucket_counts.front(), 1);
    EXPECT_EQ(histogram.bucket_counts.back(), 1);
    EXPECT_EQ(histogram.bucket_limits.back(), histogram.max);
    EXPECT_TRUE(std::isfinite(histogram.sum_squares));
  }
}

TEST(Histogram, EveryValueLiesInItsBucket) {
  std::mt19937 random(3);
  std::normal_distribution<float> normal(0.1F, 3);
  std::vector<float> values(10'000);
  for (float& value : values) value = normal(random);
  const Histogram histogram = make_histogram(values);
  // By counting what lies below each limit.
  std::sort(values.begin(), values.end());
  double before = 0;
  for (std::size_t i = 0; i + 1 < kHistogramBuckets; ++i) {
    before += histogram.bucket_counts[i];
    const auto below = std::lower_bound(values.begin(), values.end(), histogram.bucket_limits[i]) - values.begin();
    EXPECT_EQ(before, static_cast<double>(below));
  }
  EXPECT_EQ(before + histogram.bucket_counts.back(), 10'000);
}

}  // namespace
}  // namespace cskd::report

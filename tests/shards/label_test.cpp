// Labels from counts and from means, against numbers computed by hand and by integration.
#include <algorithm>
#include <cmath>
#include <numeric>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/error.h"
#include "shards/sample.h"

namespace cskd::shards {
namespace {

using testing::ElementsAre;
using testing::FloatNear;
using testing::Pointwise;

const std::vector<float> kTen{1, 2, 3, 4, 5, 6, 7, 8, 9, 10};
const std::vector<float> kFive{0, 0.25F, 0.5F, 0.75F, 1};
const std::vector<float> kUneven{-3, -1, 0, 0.5F, 4};

double mean_of(const std::vector<float>& histogram, const std::vector<float>& bins) {
  return std::inner_product(histogram.begin(), histogram.end(), bins.begin(), 0.0);
}

double stddev_of(const std::vector<float>& histogram, const std::vector<float>& bins) {
  const double mean = mean_of(histogram, bins);
  double variance = 0;
  for (size_t i = 0; i < bins.size(); ++i) variance += histogram[i] * std::pow(bins[i] - mean, 2);
  return std::sqrt(variance);
}

// Shares of the bins of a normal around `location`, truncated to their span: its density summed at many points,
// relative to where it is greatest.
std::vector<double> integrated(double location, double stddev, const std::vector<float>& bins) {
  constexpr int kPoints = 20'000;  // of a bin
  std::vector<double> edges{bins[0] - (bins[1] - bins[0]) / 2.0};
  for (size_t i = 1; i < bins.size(); ++i) edges.push_back((static_cast<double>(bins[i - 1]) + bins[i]) / 2);
  edges.push_back(2.0 * bins.back() - edges.back());
  const double top = std::clamp(location, edges.front(), edges.back());
  std::vector<double> shares;
  for (size_t bin = 0; bin < bins.size(); ++bin) {
    double sum = 0;
    const double width = (edges[bin + 1] - edges[bin]) / kPoints;
    for (int i = 0; i < kPoints; ++i) {
      const double x = edges[bin] + (i + 0.5) * width;
      sum += width * std::exp((std::pow(top - location, 2) - std::pow(x - location, 2)) / (2 * stddev * stddev));
    }
    shares.push_back(sum);
  }
  const double total = std::accumulate(shares.begin(), shares.end(), 0.0);
  for (double& share : shares) share /= total;
  return shares;
}

TEST(Label, OfCountsIsTheirDistribution) {
  const Label label = label_from_counts({1, 0, 2, 0, 1}, {1, 2, 3, 4, 5});
  EXPECT_THAT(label.histogram, ElementsAre(0.25F, 0, 0.5F, 0, 0.25F));
  EXPECT_FLOAT_EQ(label.mean, 3);
  EXPECT_FLOAT_EQ(label.stddev, std::sqrt(2.0F));
  EXPECT_EQ(label_from_counts({0.125, 0, 0.25, 0, 0.125}, {1, 2, 3, 4, 5}).histogram, label.histogram);
}

TEST(Label, OfImpossibleCountsIsRefused) {
  for (const std::vector<double>& counts : {std::vector<double>{1, -1}, {0, 0}, {NAN, 1}, {INFINITY, 1}}) {
    EXPECT_THROW(label_from_counts(counts, {1, 2}), runtime::DataError);
  }
}

TEST(Label, OfAMeanInTheMiddleIsSymmetric) {
  // Bins of width 1 between 0.5 and 5.5, stddev 1 around 3: erf(0.5 / sqrt 2) and so on, over erf(2.5 / sqrt 2).
  const Label label = label_from_mean(3, 1, {1, 2, 3, 4, 5});
  const double half = std::erf(0.5 / std::sqrt(2.0));
  const double three = std::erf(1.5 / std::sqrt(2.0));
  const double five = std::erf(2.5 / std::sqrt(2.0));
  EXPECT_NEAR(label.histogram[2], half / five, 1e-7);
  EXPECT_NEAR(label.histogram[1], (three - half) / 2 / five, 1e-7);
  EXPECT_NEAR(label.histogram[0], (five - three) / 2 / five, 1e-7);
  EXPECT_NEAR(label.histogram[3], label.histogram[1], 1e-7);
  EXPECT_NEAR(label.histogram[4], label.histogram[0], 1e-7);
  EXPECT_EQ(label.mean, 3);
}

TEST(Label, OfTwoBinsSharesTheMean) {
  for (const double stddev : {0.0, 1e-6, 0.01, 0.3, 1.0}) {
    EXPECT_THAT(label_from_mean(0.3, stddev, {0, 1}).histogram, Pointwise(FloatNear(1e-6F), {0.7F, 0.3F})) << stddev;
  }
}

TEST(Label, IsTheTruncatedNormalOfThatMeanByIntegration) {
  for (const std::vector<float>& bins : {kTen, kFive, kUneven}) {
    const double range = static_cast<double>(bins.back()) - bins.front();
    for (const double place : {-60.0, -14.2, -14.1, -3.0, -0.2, 0.0, 0.1, 0.37, 0.5, 0.81, 1.0, 1.4, 9.0}) {
      for (const double spread : {0.05, 0.16, 0.5, 1.0}) {
        if (std::abs(place) > 2 && spread < 0.5) continue;  // all in one bin, next to nothing in the others
        const std::vector<double> expected = integrated(bins.front() + place * range, spread * range, bins);
        const double mean = std::inner_product(expected.begin(), expected.end(), bins.begin(), 0.0);
        const Label label = label_from_mean(mean, spread * range, bins);
        EXPECT_THAT(label.histogram, Pointwise(testing::DoubleNear(1e-6), expected))
            << fmt::format("{} {}", place, spread);
      }
    }
  }
}

TEST(Label, KeepsTheMeanOverTheWholeRange) {
  for (const std::vector<float>& bins : {kTen, kFive, kUneven, {0, 50, 100}, {1000, 1001, 1002}, {0, 1e-3F, 1}}) {
    const double range = static_cast<double>(bins.back()) - bins.front();
    for (int i = 0; i <= 1000; ++i) {
      const double mean = bins.front() + range * i / 1000;
      for (const double spread : {0.0, 1e-7, 1e-4, 0.003, 0.02, 0.16, 0.5, 1.0}) {
        const Label label = label_from_mean(mean, spread * range, bins);
        ASSERT_NEAR(mean_of(label.histogram, bins), mean, 1e-6 * range + 1e-7 * std::abs(mean))
            << fmt::format("{} {} {}", mean, spread, range);
        ASSERT_NEAR(std::accumulate(label.histogram.begin(), label.histogram.end(), 0.0), 1, 1e-6);
        for (const float share : label.histogram) ASSERT_GE(share, 0);
        ASSERT_FLOAT_EQ(label.mean, static_cast<float>(mean));
        ASSERT_NEAR(label.stddev, stddev_of(label.histogram, bins), 1e-3 * range);
      }
    }
  }
}

TEST(Label, KeepsTheMeanOfNarrowScalesFarFromZero) {
  const std::vector<float> bins{-322380, -322379.96875F, -322370, -322367.75F};
  const double range = static_cast<double>(bins.back()) - bins.front();
  for (int i = 1; i < 1000; ++i) {
    for (const double spread : {3.5e-7, 1e-4, 0.16}) {
      const Label label = label_from_mean(bins.front() + range * i / 1000, spread * range, bins);
      double mean = 0;  // from the first centre on
      for (size_t bin = 0; bin < bins.size(); ++bin) mean += label.histogram[bin] * (bins[bin] - bins.front());
      ASSERT_NEAR(mean, range * i / 1000, 1e-6 * range) << fmt::format("{} {}", i, spread);
    }
  }
}

TEST(Label, KeepsMeansNextToTheEnds) {
  for (const double offset : {1e-12, 1e-9, 1e-8, 1e-6, 1e-4, 1e-2}) {
    for (const double spread : {1e-3, 0.16, 1.0}) {
      EXPECT_NEAR(mean_of(label_from_mean(offset, spread, kFive).histogram, kFive), offset, 1e-6);
      EXPECT_NEAR(mean_of(label_from_mean(1 - offset, spread, kFive).histogram, kFive), 1 - offset, 1e-6);
      EXPECT_NEAR(label_from_mean(offset, spread, kFive).histogram[1], 4 * offset, 4 * offset + 1e-8);
    }
  }
}

TEST(Label, AtTheEndsIsOneBin) {
  EXPECT_THAT(label_from_mean(1, 1.4, kTen).histogram, ElementsAre(1, 0, 0, 0, 0, 0, 0, 0, 0, 0));
  EXPECT_THAT(label_from_mean(10, 1.4, kTen).histogram, ElementsAre(0, 0, 0, 0, 0, 0, 0, 0, 0, 1));
  EXPECT_EQ(label_from_mean(10, 1.4, kTen).stddev, 0);
}

TEST(Label, WithoutStddevIsTheTwoBinsAroundTheMean) {
  EXPECT_THAT(label_from_mean(4, 0, {1, 2, 4, 8}).histogram, ElementsAre(0, 0, 1, 0));
  EXPECT_THAT(label_from_mean(5, 0, {1, 2, 4, 8}).histogram, ElementsAre(0, 0, 0.75F, 0.25F));
}

TEST(Label, TakesScoresOfTheOuterBinsInSpiteOfRounding) {
  const std::vector<float> bins{0.1F, 0.2F, 0.7F};  // 0.1F is above 0.1, 0.7F below 0.7
  EXPECT_THAT(label_from_mean(0.1, 0.05, bins).histogram, ElementsAre(1, 0, 0));
  EXPECT_THAT(label_from_mean(0.7, 0.05, bins).histogram, ElementsAre(0, 0, 1));
}

TEST(Label, OfAnImpossibleMeanOrStddevIsRefused) {
  for (const double mean : {-0.01, 1.01, double{NAN}, double{INFINITY}, -double{INFINITY}}) {
    EXPECT_THROW(label_from_mean(mean, 0.1, kFive), runtime::DataError) << mean;
  }
  for (const double stddev : {-0.01, 1.01, double{NAN}, double{INFINITY}}) {
    EXPECT_THROW(label_from_mean(0.5, stddev, kFive), runtime::DataError) << stddev;
  }
}

}  // namespace
}  // namespace cskd::shards

#include "metrics/metrics.h"

#include <algorithm>
#include <cmath>
#include <cstdint>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/error.h"

namespace cskd::metrics {
namespace {

// With ties in both; the expected values are scipy 1.16.3's pearsonr, spearmanr and kendalltau.
const std::vector<double> kX{1, 2, 2, 3, 5, 4, 7, 7, 9, 1.5};
const std::vector<double> kY{2, 1, 3, 3, 4, 6, 5, 8, 8, 0};

TEST(Correlation, EqualsScipy) {
  EXPECT_NEAR(pearson(kX, kY), 0.8821907886544406, 1e-12);
  EXPECT_NEAR(spearman(kX, kY), 0.8957055214723928, 1e-12);
  EXPECT_NEAR(kendall_tau_b(kX, kY), 0.7674418604651163, 1e-12);
}

TEST(Correlation, IsOneForTheSameOrderAndMinusOneForTheReverse) {
  const std::vector<double> x{1, 2, 3, 4};
  const std::vector<double> up{10, 100, 1000, 10000};
  const std::vector<double> down{4, 3, 2, 1};
  EXPECT_DOUBLE_EQ(spearman(x, up), 1);
  EXPECT_DOUBLE_EQ(kendall_tau_b(x, up), 1);
  EXPECT_DOUBLE_EQ(spearman(x, down), -1);
  EXPECT_DOUBLE_EQ(kendall_tau_b(x, down), -1);
}

TEST(Correlation, IsUndefinedForAConstant) {
  const std::vector<double> constant(10, 3);
  EXPECT_TRUE(std::isnan(pearson(kX, constant)));
  EXPECT_TRUE(std::isnan(spearman(constant, kX)));
  EXPECT_TRUE(std::isnan(kendall_tau_b(kX, constant)));
}

TEST(EarthMoversDistance, IsTheFormula) {
  const std::vector<double> p{1, 0, 0};
  const std::vector<double> q{0, 0, 1};
  EXPECT_NEAR(earth_movers_distance(p, q, 1), 2.0 / 3, 1e-12);
  EXPECT_NEAR(earth_movers_distance(p, q, 2), std::sqrt(2.0 / 3), 1e-12);
  EXPECT_EQ(earth_movers_distance(p, p, 2), 0);
}

std::vector<RatedPrediction> pictures() {
  std::vector<RatedPrediction> all;
  for (int i = 0; i < 60; ++i) {
    const double share = (i + 0.5) / 60;
    const double noisy = std::fmod(share * 0.7 + 0.3 * std::fmod(i * 0.618, 1.0), 1.0);
    all.push_back({{1 - noisy, noisy}, {1 - share, share}});
  }
  return all;
}

TEST(Score, GivesFiguresInsideTheirIntervals) {
  const Scores scores = score(pictures(), {.bin_centres = {1, 2}, .middle = 1.5, .resamples = 300});
  EXPECT_EQ(scores.n, 60);
  for (const Estimate& figure :
       {scores.srcc, scores.plcc, scores.krcc, scores.accuracy, scores.emd, scores.emd2, scores.mse}) {
    EXPECT_LT(figure.low, figure.high);
    EXPECT_LE(figure.low, figure.value);
    EXPECT_GE(figure.high, figure.value);
  }
  EXPECT_GT(scores.srcc.value, 0.8);
  const Scores again = score(pictures(), {.bin_centres = {1, 2}, .middle = 1.5, .resamples = 300});
  EXPECT_EQ(scores.srcc.low, again.srcc.low);
  const Scores other = score(pictures(), {.bin_centres = {1, 2}, .middle = 1.5, .resamples = 300, .seed = 2});
  EXPECT_NE(scores.srcc.low, other.srcc.low);
}

TEST(Score, IsPerfectForPerfectPredictions) {
  std::vector<RatedPrediction> all = pictures();
  for (RatedPrediction& picture : all) picture.predicted = picture.rated;
  const Scores scores = score(all, {.bin_centres = {1, 2}, .middle = 1.5, .resamples = 0});
  EXPECT_DOUBLE_EQ(scores.srcc.value, 1);
  EXPECT_DOUBLE_EQ(scores.accuracy.value, 1);
  EXPECT_EQ(scores.emd.value, 0);
  EXPECT_EQ(scores.mse.high, scores.mse.value);
}

// Predictions that leave out one picture or another of a perfect order.
std::vector<RatedPrediction> noisy(std::uint64_t seed) {
  std::vector<RatedPrediction> pictures;
  for (int i = 0; i < 40; ++i) {
    const double share = (i + 0.5) / 40;
    const double noise = 0.1 * std::sin(12.9898 * i + 78.233 * static_cast<double>(seed));
    const double predicted = std::clamp(share + noise, 0.0, 1.0);
    pictures.push_back({.predicted = {1 - predicted, predicted}, .rated = {1 - share, share}});
  }
  return pictures;
}

TEST(PairedDifference, IsThatOfTheFiguresInTheSameResamples) {
  ScoreOptions options{.bin_centres = {0, 1}, .middle = 0.5, .resamples = 1};
  const std::vector<RatedPrediction> first = noisy(1);
  const std::vector<RatedPrediction> second = noisy(2);
  const Scores of_first = score(first, options);
  const Scores of_second = score(second, options);
  const PairedDifference difference = paired_difference(first, second, options);
  EXPECT_DOUBLE_EQ(difference.srcc.value, of_first.srcc.value - of_second.srcc.value);
  EXPECT_DOUBLE_EQ(difference.plcc.value, of_first.plcc.value - of_second.plcc.value);
  // The percentiles of one resample are its figure.
  EXPECT_DOUBLE_EQ(difference.srcc.low, of_first.srcc.low - of_second.srcc.low);
  EXPECT_DOUBLE_EQ(difference.plcc.high, of_first.plcc.high - of_second.plcc.high);
  EXPECT_NE(of_first.srcc.low, of_first.srcc.value);
}

TEST(PairedDifference, OfAModelToItselfIsNothing) {
  const PairedDifference difference =
      paired_difference(noisy(1), noisy(1), {.bin_centres = {0, 1}, .middle = 0.5, .resamples = 50});
  for (const double value : {difference.srcc.value, difference.srcc.low, difference.srcc.high}) EXPECT_EQ(value, 0);
}

TEST(Score, SaysWhenEveryPictureGetsTheSame) {
  std::vector<RatedPrediction> pictures = noisy(1);
  EXPECT_FALSE(score(pictures, {.bin_centres = {0, 1}, .middle = 0.5}).constant.has_value());
  for (RatedPrediction& picture : pictures) picture.predicted = {0.75, 0.25};
  const Scores scores = score(pictures, {.bin_centres = {0, 1}, .middle = 0.5});
  EXPECT_EQ(scores.constant, 0.25);
  EXPECT_TRUE(std::isnan(scores.srcc.value));
}

TEST(Score, NamesTheDamagedPicture) {
  const auto error = [](const std::vector<double>& damaged) -> std::string {
    std::vector<RatedPrediction> all = pictures();
    all[7].predicted = damaged;
    try {
      score(all, {.bin_centres = {1, 2}});
    } catch (const runtime::DataError& found) {
      return found.what();
    }
    return "no error";
  };
  for (const std::vector<double>& damaged :
       {std::vector<double>{}, {0.5}, {0.0, 0.0}, {-0.5, 1.5}, {std::nan(""), 1}, {0.9, 0.9}}) {
    EXPECT_THAT(error(damaged), testing::HasSubstr("predicted distribution of picture 7"));
  }
}

}  // namespace
}  // namespace cskd::metrics

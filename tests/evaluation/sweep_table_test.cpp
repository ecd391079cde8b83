// The table of a sweep: means over seeds, and intervals of paired differences where they are known.
#include "evaluation/sweep_table.h"

#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/error.h"
#include "runtime/philox.h"

namespace cskd::evaluation {
namespace {

constexpr std::size_t kPictures = 200;
constexpr int kResamples = 400;

// Ratings, and predictions that are the ratings with noise of this size.
PredictedMeans predictions(const std::string& model, double noise, std::uint64_t seed) {
  PredictedMeans means{.model = model, .pictures = {}, .rated = {}, .predicted = {}};
  for (std::size_t i = 0; i < kPictures; ++i) {
    runtime::Philox rating(1, 0, i);
    runtime::Philox error(seed, 1, i);
    means.pictures.push_back("p" + std::to_string(i));
    means.rated.push_back(rating.uniform());
    means.predicted.push_back(means.rated.back() + noise * error.uniform(-1, 1));
  }
  return means;
}

SweptMember member(const std::string& seed, const std::string& fraction, std::vector<PredictedMeans> models) {
  return {.values = {{"run.seed", seed}, {"labels.fraction", fraction}}, .models = std::move(models)};
}

TEST(SweepTable, PerfectPredictionsHaveNoIntervalAndEqualModelsNoDifference) {
  std::vector<SweptMember> members;
  for (const char* seed : {"1", "2"})
    members.push_back(member(seed, "1", {predictions("a", 0, 7), predictions("b", 0.5, 8), predictions("c", 0.5, 8)}));
  const SweepTable table = make_sweep_table(members, kResamples, 1);
  ASSERT_EQ(table.rows.size(), 3U);
  EXPECT_EQ(table.rows[0].point, "labels.fraction=1");
  for (const double figure :
       {table.rows[0].srcc.value, table.rows[0].srcc.low, table.rows[0].srcc.high, table.rows[0].plcc.low})
    EXPECT_NEAR(figure, 1, 1e-12);
  EXPECT_LT(table.rows[1].srcc.low, table.rows[1].srcc.value);
  EXPECT_GT(table.rows[1].srcc.high, table.rows[1].srcc.value);
  // The same draws for b and c, so the difference to a is the same to the last bit.
  ASSERT_EQ(table.differences.size(), 2U);
  EXPECT_EQ(table.differences[0].srcc.low, table.differences[1].srcc.low);
  EXPECT_NEAR(table.differences[0].srcc.low, 1 - table.rows[1].srcc.high, 1e-12);
}

TEST(SweepTable, DifferencesArePairedOverSeeds) {
  // Seeds differ much more than models do: b is always a little worse than a.
  std::vector<SweptMember> members;
  for (const auto& [seed, noise] : {std::pair("1", 0.3), std::pair("2", 0.9), std::pair("3", 1.5)})
    members.push_back(member(seed, "1", {predictions("a", noise, 5), predictions("b", noise + 0.1, 5)}));
  const SweepTable table = make_sweep_table(members, kResamples, 1);
  EXPECT_THAT(table.seeds, testing::ElementsAre("1", "2", "3"));
  const metrics::Estimate difference = table.differences.front().srcc;
  EXPECT_GT(difference.low, 0);
  EXPECT_LT(difference.high - difference.low, 0.3 * (table.rows[0].srcc.high - table.rows[0].srcc.low));
  double mean = 0;
  for (const double value : table.rows[0].srcc_by_seed) mean += value / 3;
  EXPECT_NEAR(table.rows[0].srcc.value, mean, 1e-12);
}

TEST(SweepTable, PointsAreComparedWithTheFirst) {
  const std::vector<SweptMember> members{member("1", "0.1", {predictions("a", 1, 3)}),
                                         member("1", "1", {predictions("a", 0.2, 3)})};
  const SweepTable table = make_sweep_table(members, kResamples, 1);
  ASSERT_EQ(table.differences.size(), 1U);
  EXPECT_EQ(table.differences[0].first, "a at labels.fraction=1");
  EXPECT_EQ(table.differences[0].second, "a at labels.fraction=0.1");
  EXPECT_NEAR(table.differences[0].srcc.value, table.rows[1].srcc.value - table.rows[0].srcc.value, 1e-12);
  EXPECT_EQ(make_sweep_table(members, 0, 1).rows[0].srcc.low, table.rows[0].srcc.value);
}

TEST(SweepTable, MembersThatJudgedOtherModelsAreRefused) {
  const std::vector<SweptMember> members{member("1", "1", {predictions("a", 1, 3)}),
                                         member("2", "1", {predictions("b", 1, 3)})};
  EXPECT_THROW(make_sweep_table(members, 10, 1), runtime::DataError);
}

}  // namespace
}  // namespace cskd::evaluation

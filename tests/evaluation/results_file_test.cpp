// results.json is read as it was written, and told to people.
#include <cmath>
#include <limits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "evaluation/results.h"
#include "tests/support/temporary_folder.h"

namespace cskd::evaluation {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

ModelResult student() {
  ModelResult result{.model = "distill.student"};
  result.scores.srcc = {0.6, 0.5, 0.7};
  result.fidelity =
      Fidelity{.teachers = {"ridge.a", "finetune.b"}, .srcc = {0.9, 0.875, 0.925}, .teachers_srcc = {0.75, 0.6, 0.8}};
  return result;
}

TEST(ResultsFile, IsReadAsItWasWritten) {
  const tests::TemporaryFolder folder;
  Results results{
      .split = {.sources = {{"rated", "official", 3}, {"more", "random", 1}}, .pictures = 4, .hash = "a1"},
      .models = {student(), {.model = "ridge.a"}},
      .differences = {{.first = "distill.student", .second = "ridge.a", .difference = {.srcc = {0.25, 0.125, 0.5}}}}};
  results.models[0].by_source.emplace_back("rated", results.models[0].scores);
  results.models[1].scores.constant = 5.5;
  results.models[1].scores.srcc.value = std::numeric_limits<double>::quiet_NaN();
  write_results(folder.path(), results, {});
  const Results all = read_results(folder.path());
  EXPECT_EQ(all.split.hash, "a1");
  EXPECT_EQ(all.split.pictures, 4U);
  ASSERT_EQ(all.split.sources.size(), 2U);
  EXPECT_EQ(all.split.sources[1].name + all.split.sources[1].rule, "morerandom");
  ASSERT_EQ(all.differences.size(), 1U);
  EXPECT_EQ(all.differences[0].second, "ridge.a");
  EXPECT_EQ(all.differences[0].difference.srcc.low, 0.125);
  const std::vector<ModelResult>& read = all.models;
  ASSERT_EQ(read.size(), 2U);
  ASSERT_EQ(read[0].by_source.size(), 1U);
  EXPECT_EQ(read[0].by_source[0].second.srcc.high, 0.7);
  EXPECT_EQ(read[1].scores.constant, 5.5);
  EXPECT_TRUE(std::isnan(read[1].scores.srcc.value));
  ASSERT_TRUE(read[0].fidelity.has_value());
  EXPECT_THAT(read[0].fidelity->teachers, ElementsAre("ridge.a", "finetune.b"));
  EXPECT_EQ(read[0].fidelity->srcc.low, 0.875);
  EXPECT_EQ(read[0].fidelity->teachers_srcc.high, 0.8);
  EXPECT_EQ(read[0].scores.srcc.value, 0.6);
  EXPECT_FALSE(read[1].fidelity.has_value());
}

TEST(ResultsTable, TellsHowMuchOfItsTeachersAStudentKeeps) {
  EXPECT_THAT(results_table({.models = {student()}}),
              HasSubstr("distill.student repeats ridge.a and finetune.b with SRCC 0.900 "
                        "(0.875..0.925) and keeps 80 % of its teachers' SRCC of 0.750\n"));
  ModelResult hopeless = student();
  hopeless.fidelity->teachers_srcc.value = -0.1;  // no share of that
  EXPECT_THAT(results_table({.models = {hopeless}}), Not(HasSubstr("keeps")));
}

TEST(ResultsTable, SaysWhatAModelThatIsConstantLacks) {
  ModelResult constant{.model = "finetune.dead"};
  constant.scores.srcc = constant.scores.plcc = {std::nan(""), std::nan(""), std::nan("")};
  constant.scores.constant = 5.25;
  const std::string table = results_table({.models = {constant}});
  EXPECT_THAT(table, HasSubstr("finetune.dead gives every picture the same score (5.250)"));
  EXPECT_THAT(table, Not(HasSubstr("nan")));
}

TEST(ResultsTable, ListsSourcesAndDifferences) {
  ModelResult judged = student();
  judged.by_source.emplace_back("ava", judged.scores);
  const std::string table = results_table(
      {.models = {judged, {.model = "ridge.a"}},
       .differences = {
           {.first = "distill.student", .second = "ridge.a", .difference = {.srcc = {-0.25, -0.5, 0.125}}}}});
  EXPECT_THAT(table, HasSubstr("  on ava"));
  EXPECT_THAT(table, HasSubstr("distill.student minus"));
  EXPECT_THAT(table, HasSubstr("-0.250   -0.500..0.125"));
}

}  // namespace
}  // namespace cskd::evaluation

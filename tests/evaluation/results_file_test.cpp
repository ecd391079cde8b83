// results.json is read as it was written, and told to people.
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
  write_results(folder.path(), {student(), {.model = "ridge.a"}}, {});
  const std::vector<ModelResult> read = read_results(folder.path());
  ASSERT_EQ(read.size(), 2U);
  ASSERT_TRUE(read[0].fidelity.has_value());
  EXPECT_THAT(read[0].fidelity->teachers, ElementsAre("ridge.a", "finetune.b"));
  EXPECT_EQ(read[0].fidelity->srcc.low, 0.875);
  EXPECT_EQ(read[0].fidelity->teachers_srcc.high, 0.8);
  EXPECT_EQ(read[0].scores.srcc.value, 0.6);
  EXPECT_FALSE(read[1].fidelity.has_value());
}

TEST(ResultsTable, TellsHowMuchOfItsTeachersAStudentKeeps) {
  EXPECT_THAT(results_table({student()}), HasSubstr("distill.student repeats ridge.a and finetune.b with SRCC 0.900 "
                                                    "(0.875..0.925) and keeps 80 % of its teachers' SRCC of 0.750\n"));
  ModelResult hopeless = student();
  hopeless.fidelity->teachers_srcc.value = -0.1;  // no share of that
  EXPECT_THAT(results_table({hopeless}), Not(HasSubstr("keeps")));
}

}  // namespace
}  // namespace cskd::evaluation

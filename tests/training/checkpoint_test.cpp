#include "training/checkpoint.h"

#include <cmath>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/error.h"
#include "runtime/failure_point.h"
#include "tests/support/temporary_folder.h"
#include "tests/training/checkpoints.h"

namespace cskd::training {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class CheckpointTest : public testing::Test {
 protected:
  std::filesystem::path path(std::uint64_t step, const std::string& file = "") const {
    return folder_ / fmt::format("step-{:09}", step) / file;
  }
  std::string newest_error() const {
    try {
      newest_checkpoint(folder_.path());
    } catch (const runtime::DataError& error) {
      return error.what();
    }
    return "";
  }
  void edit(const std::filesystem::path& file, const std::function<void(std::string&)>& change) const {
    std::string text = tests::read_file(file);
    change(text);
    std::ofstream(file, std::ios::binary) << text;
  }

  tests::TemporaryFolder folder_;
};

TEST_F(CheckpointTest, IsReadAsItWasWritten) {
  EXPECT_EQ(newest_checkpoint(folder_.path()), std::nullopt);
  for (const std::uint64_t step : {10, 20}) write_checkpoint(folder_.path(), contents_of(step, 0.5));
  EXPECT_EQ(newest_checkpoint(folder_.path()), 20U);
  EXPECT_TRUE(holds(read_checkpoint(folder_.path(), 20), 20));
  const std::vector<CheckpointInfo> all = list_checkpoints(folder_.path());
  ASSERT_EQ(all.size(), 2U);
  EXPECT_EQ(all[0].step, 20U);
  EXPECT_TRUE(all[0].is_committed);
  EXPECT_GT(all[0].bytes, 7200U);
  EXPECT_GT(all[0].time, 1.7e9);
  EXPECT_THAT(all[0].validation, ElementsAre(testing::Pair("validation/srcc", 0.5)));
}

TEST_F(CheckpointTest, EveryFlippedByteOfEveryFileIsNoticed) {
  write_checkpoint(folder_.path(), contents_of(10));
  for (const char* file : {"model.safetensors", "ema.safetensors", "optimizer.safetensors", "state.pb"}) {
    const std::string whole = tests::read_file(path(10, file));
    for (std::size_t at = 0; at < whole.size(); at += 41) {
      edit(path(10, file), [at](std::string& text) { text[at] = static_cast<char>(text[at] ^ 0x10); });
      EXPECT_THROW(check_checkpoint(path(10)), runtime::DataError) << file << " " << at;
      std::ofstream(path(10, file), std::ios::binary) << whole;
    }
    edit(path(10, file), [](std::string& text) { text.pop_back(); });
    EXPECT_THAT(newest_error(), HasSubstr(file));
    std::ofstream(path(10, file), std::ios::binary) << whole;
    std::filesystem::rename(path(10, file), folder_ / "away");
    EXPECT_THAT(newest_error(), HasSubstr(std::string(file) + " is missing"));
    std::filesystem::rename(folder_ / "away", path(10, file));
  }
  EXPECT_EQ(newest_checkpoint(folder_.path()), 10U);
}

TEST_F(CheckpointTest, DamagedOnesArePassedOverUnlessNoneIsLeft) {
  for (const std::uint64_t step : {10, 20}) write_checkpoint(folder_.path(), contents_of(step));
  std::filesystem::remove(path(20, "ema.safetensors"));
  EXPECT_EQ(newest_checkpoint(folder_.path()), 10U);
  std::filesystem::remove(path(10, "ema.safetensors"));
  EXPECT_THAT(newest_error(), testing::AllOf(HasSubstr("none that is whole"), HasSubstr("step-000000020"),
                                             HasSubstr("remove the folder")));
}

TEST_F(CheckpointTest, OfAnotherVersionIsRefusedWithTheRemedy) {
  write_checkpoint(folder_.path(), contents_of(10));
  edit(path(10, "commit.json"),
       [](std::string& text) { text.replace(text.find("\"version\": 2"), 12, "\"version\": 9"); });
  EXPECT_THAT(newest_error(), HasSubstr("has version 9, this cskd reads version 2"));
}

TEST_F(CheckpointTest, HostileCommitRecordsAreDamaged) {
  write_checkpoint(folder_.path(), contents_of(10));
  const std::string whole = tests::read_file(path(10, "commit.json"));
  for (const std::string& text :
       {std::string("{"), std::string("[]"), std::string("null"), std::string("\"x\""), std::string(),
        std::string("{\"format\": 3}"), std::string("{\"format\": \"cskd-checkpoint\", \"version\": \"2\"}"),
        std::string("{\"format\": \"cskd-checkpoint\", \"version\": 2, \"files\": [1, 2], \"validation\": 3}"),
        std::string("{\"format\": \"cskd-checkpoint\", \"version\": 2, \"files\": {\"model.safetensors\": 1}}"),
        whole.substr(0, whole.size() / 2)}) {
    std::ofstream(path(10, "commit.json")) << text;
    EXPECT_THROW(check_checkpoint(path(10)), runtime::DataError) << text;
    EXPECT_EQ(list_checkpoints(folder_.path()).size(), 1U) << text;
  }
}

TEST_F(CheckpointTest, UnfinishedOnesAreRemovedAndNoReasonToRefuse) {
  write_checkpoint(folder_.path(), contents_of(10));
  std::filesystem::remove(path(10, "commit.json"));
  EXPECT_EQ(newest_checkpoint(folder_.path()), std::nullopt);
  remove_unfinished_checkpoints(folder_.path());
  EXPECT_THAT(list_checkpoints(folder_.path()), IsEmpty());
}

TEST_F(CheckpointTest, ThatCannotBeWrittenLeavesNothing) {
  write_checkpoint(folder_.path(), contents_of(10));
  runtime::arm_failure("checkpoint.optimizer@step-*20", 1, runtime::FailureAction::kFull);
  EXPECT_THROW(write_checkpoint(folder_.path(), contents_of(20)), runtime::Error);
  runtime::disarm_failure();
  EXPECT_FALSE(std::filesystem::exists(path(20)));
  EXPECT_EQ(newest_checkpoint(folder_.path()), 10U);
}

TEST_F(CheckpointTest, WeightsThatAreNotFiniteAreNeverWritten) {
  write_checkpoint(folder_.path(), contents_of(10));
  for (const bool of_average : {false, true}) {
    CheckpointContents contents = contents_of(20);
    (of_average ? contents.average : contents.model)[0].second[1][2][3][4] = NAN;
    std::string reason;
    try {
      write_checkpoint(folder_.path(), contents);
    } catch (const runtime::Error& error) {
      reason = runtime::messages(error).back();
    }
    EXPECT_THAT(reason, testing::AllOf(HasSubstr("after step 20"), HasSubstr("'conv.weight' are not finite")));
    EXPECT_FALSE(std::filesystem::exists(path(20)));
  }
  EXPECT_EQ(newest_checkpoint(folder_.path()), 10U);
}

TEST_F(CheckpointTest, IsNotCommittedWhenWhatIsLoggedBeforeCannotBe) {
  EXPECT_THROW(write_checkpoint(folder_.path(), contents_of(10), [] { throw runtime::Error("full"); }), runtime::Error);
  EXPECT_EQ(newest_checkpoint(folder_.path()), std::nullopt);
}

TEST(Retention, KeepsTheNewestTheBestAndEveryNth) {
  std::vector<CheckpointInfo> all;
  const std::vector<double> srcc{0.1, 0.9, 0.5, 0.9, 0.2, 0.3};
  for (std::uint64_t i = 0; i < srcc.size(); ++i)
    all.push_back({.step = 10 * (i + 1), .is_committed = true, .validation = {{"srcc", srcc[i]}}});
  EXPECT_THAT(superfluous(all, {.newest = 2}, 60), ElementsAre(40, 30, 20, 10));
  EXPECT_THAT(superfluous(all, {.newest = 2, .every = 30}, 60), ElementsAre(40, 20, 10));
  EXPECT_THAT(superfluous(all, {.newest = 1, .best = 1, .best_by = "srcc"}, 60), ElementsAre(50, 30, 20, 10));
  EXPECT_THAT(superfluous(all, {.newest = 1, .best = 2, .best_by = "srcc"}, 60), ElementsAre(50, 30, 10));
  EXPECT_THAT(superfluous(all, {.newest = 1, .best = 1, .best_by = "srcc", .highest_is_best = false}, 60),
              ElementsAre(50, 40, 30, 20));
  EXPECT_THAT(superfluous(all, {.newest = 1, .best = 3, .best_by = "absent"}, 60), ElementsAre(50, 40, 30, 20, 10));
  EXPECT_THAT(superfluous(all, {.newest = 99}, 60), IsEmpty());
  // Later ones are damaged: the one that was just written stays, and so do they.
  EXPECT_THAT(superfluous(all, {.newest = 1}, 30), ElementsAre(20, 10));
}

}  // namespace
}  // namespace cskd::training

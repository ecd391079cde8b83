#include "training/checkpoint_writer.h"

#include <csignal>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runtime/error.h"
#include "runtime/failure_point.h"
#include "tests/support/temporary_folder.h"
#include "tests/training/checkpoints.h"

namespace cskd::training {
namespace {

using testing::ElementsAre;

std::vector<std::uint64_t> steps_in(const std::filesystem::path& folder) {
  std::vector<std::uint64_t> steps;
  for (const CheckpointInfo& info : list_checkpoints(folder)) {
    if (info.is_committed) steps.push_back(info.step);
  }
  return steps;
}

TEST(CheckpointWriter, WritesWhatTensorsWereWhenItCopied) {
  const tests::TemporaryFolder folder;
  std::vector<std::uint64_t> told;
  bool flushed = false;
  CheckpointWriter writer({.folder = folder.path(),
                           .before_commit = [&] { flushed = true; },
                           .written = [&](std::uint64_t step) { told.push_back(step); }});
  for (const std::uint64_t step : {1, 2, 3}) {
    CheckpointContents contents = contents_of(step);
    writer.start(contents);
    writer.wait_until_copied();
    for (auto& [name, tensor] : contents.model) tensor.zero_();
  }
  writer.finish();
  EXPECT_TRUE(flushed);
  EXPECT_THAT(told, ElementsAre(1, 2, 3));
  EXPECT_THAT(steps_in(folder.path()), ElementsAre(3, 2));
  EXPECT_TRUE(holds(read_checkpoint(folder.path(), 3), 3));
  EXPECT_TRUE(holds(read_checkpoint(folder.path(), 2), 2));
  EXPECT_GT(writer.longest_write(), 0);
}

TEST(CheckpointWriter, DoesNotMakeTrainingWaitForTheDisk) {
  const tests::TemporaryFolder folder;
  std::promise<void> let_go;
  auto gate = let_go.get_future();
  CheckpointWriter writer({.folder = folder.path(), .before_commit = [&] { gate.wait(); }});
  writer.start(contents_of(1));
  writer.wait_until_copied();
  EXPECT_NO_THROW(writer.throw_if_failed());
  EXPECT_EQ(newest_checkpoint(folder.path()), std::nullopt) << "it is still being written";
  let_go.set_value();
  writer.finish();
  EXPECT_EQ(newest_checkpoint(folder.path()), 1U);
}

TEST(CheckpointWriter, ThatStopsOnAFullDiskSaysSoBeforeTheNext) {
  const tests::TemporaryFolder folder;
  CheckpointWriter writer({.folder = folder.path()});
  writer.start(contents_of(1));
  writer.finish();
  runtime::arm_failure("checkpoint.state@step-*2", 1, runtime::FailureAction::kFull);
  writer.start(contents_of(2));
  EXPECT_THROW(
      {
        for (int i = 0; i < 2000; ++i) {
          writer.throw_if_failed();
          std::this_thread::sleep_for(std::chrono::milliseconds(1));
        }
      },
      runtime::Error);
  runtime::disarm_failure();
  EXPECT_THAT(steps_in(folder.path()), ElementsAre(1));
}

TEST(CheckpointWriter, ThatGoesOnTriesAgainAtTheNextAndFailsOnlyAtTheEnd) {
  const tests::TemporaryFolder folder;
  CheckpointWriter writer({.folder = folder.path(), .goes_on = true});
  runtime::arm_failure("checkpoint.state@step-*1", 1, runtime::FailureAction::kFull);
  writer.start(contents_of(1));
  writer.start(contents_of(2));
  EXPECT_NO_THROW(writer.throw_if_failed());
  EXPECT_NO_THROW(writer.finish());
  runtime::disarm_failure();
  EXPECT_THAT(steps_in(folder.path()), ElementsAre(2));
  runtime::arm_failure("checkpoint.commit@step-*3", 1, runtime::FailureAction::kFull);
  writer.start(contents_of(3));
  EXPECT_THROW(writer.finish(), runtime::Error);
  runtime::disarm_failure();
  EXPECT_THAT(steps_in(folder.path()), ElementsAre(2));
}

// Writes three checkpoints, of which two are kept, in a child that is killed at one passage of one place.
int write_in_child(const std::filesystem::path& folder, const char* place, int passage) {
  const pid_t child = ::fork();
  if (child == 0) {
    runtime::arm_failure(place, passage, runtime::FailureAction::kKill);
    CheckpointWriter writer({.folder = folder});
    for (const std::uint64_t step : {1, 2, 3}) {
      writer.start(contents_of(step));
      writer.finish();
    }
    std::_Exit(0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return status;
}

TEST(CheckpointWriter, KilledAtEveryPassageOfEveryWritePointLeavesAWholeOne) {
  int kills = 0;
  for (const char* place : {"atomic_file.open", "atomic_file.write", "atomic_file.fsync", "atomic_file.verify",
                            "atomic_file.rename", "atomic_file.fsync_folder", "checkpoint.model", "checkpoint.ema",
                            "checkpoint.optimizer", "checkpoint.state", "checkpoint.commit", "checkpoint.remove"}) {
    std::uint64_t newest_before = 0;
    for (int passage = 1;; ++passage) {
      const tests::TemporaryFolder folder;
      const int status = write_in_child(folder.path(), place, passage);
      if (WIFEXITED(status)) {
        ASSERT_EQ(WEXITSTATUS(status), 0);
        EXPECT_THAT(steps_in(folder.path()), ElementsAre(3, 2));
        EXPECT_GT(passage, 1) << place << " is never passed";
        break;
      }
      ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
      ++kills;
      const std::uint64_t newest = newest_checkpoint(folder.path()).value_or(0);
      EXPECT_GE(newest, newest_before) << place << " " << passage;
      newest_before = newest;
      if (newest > 0) {
        EXPECT_TRUE(holds(read_checkpoint(folder.path(), newest), newest)) << place << " " << passage;
      }
      // The next start goes on from there, and ends with the same files.
      remove_unfinished_checkpoints(folder.path());
      CheckpointWriter writer({.folder = folder.path()});
      for (std::uint64_t step = newest + 1; step <= 3; ++step) writer.start(contents_of(step));
      writer.finish();
      EXPECT_EQ(steps_in(folder.path()).front(), 3U) << place << " " << passage;
      EXPECT_TRUE(holds(read_checkpoint(folder.path(), 3), 3)) << place << " " << passage;
    }
  }
  EXPECT_GE(kills, 100);
}

}  // namespace
}  // namespace cskd::training

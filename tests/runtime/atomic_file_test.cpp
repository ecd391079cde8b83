#include "runtime/atomic_file.h"

#include <csignal>
#include <fstream>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runtime/error.h"
#include "runtime/failure_point.h"
#include "tests/support/temporary_folder.h"

namespace cskd::runtime {
namespace {

using tests::read_file;
using tests::TemporaryFolder;

constexpr const char* kSteps[] = {"atomic_file.open",   "atomic_file.write",  "atomic_file.fsync",
                                  "atomic_file.verify", "atomic_file.rename", "atomic_file.fsync_folder"};

bool is_after_rename(const std::string& step) { return step == "atomic_file.fsync_folder"; }

TEST(AtomicFile, CreatesAndReplacesWholeFiles) {
  const TemporaryFolder folder;
  write_file_atomically(folder / "a", "first");
  EXPECT_EQ(read_file(folder / "a"), "first");
  const std::string large(3'000'000, 'x');
  write_file_atomically(folder / "a", large);
  EXPECT_EQ(read_file(folder / "a"), large);
  EXPECT_FALSE(std::filesystem::exists(folder / "a.tmp"));
}

TEST(AtomicFile, WithoutCommitNothingRemains) {
  const TemporaryFolder folder;
  { AtomicFile(folder / "a").write("half"); }
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

TEST(AtomicFile, NoticesBytesThatTheDiskLost) {
  const TemporaryFolder folder;
  AtomicFile file(folder / "a");
  file.write("0123456789");
  { std::fstream(folder / "a.tmp", std::ios::in | std::ios::out) << "X"; }
  EXPECT_THAT([&] { file.commit(); },
              testing::ThrowsMessage<Error>(
                  testing::AllOf(testing::HasSubstr("a.tmp read back as 10 bytes"), testing::HasSubstr("loses data"))));
  EXPECT_FALSE(std::filesystem::exists(folder / "a"));
}

TEST(AtomicFile, MissingFolderIsNamed) {
  EXPECT_THAT([] { AtomicFile("/nonexistent/folder/a"); },
              testing::ThrowsMessage<Error>("cannot create /nonexistent/folder/a.tmp: No such file or directory"));
}

TEST(AtomicFile, FullDiskLeavesTheOldFile) {
  const TemporaryFolder folder;
  write_file_atomically(folder / "a", "old");
  // /dev/full refuses every write with ENOSPC; the temporary file is made to lead there.
  std::filesystem::create_symlink("/dev/full", folder / "a.tmp");
  EXPECT_THAT([&] { write_file_atomically(folder / "a", "new"); },
              testing::ThrowsMessage<Error>(testing::HasSubstr("No space left on device")));
  EXPECT_EQ(read_file(folder / "a"), "old");
}

class AtomicFileFailure : public testing::TestWithParam<const char*> {};

TEST_P(AtomicFileFailure, AnErrorLeavesTheOldFileOrTheNewOne) {
  const TemporaryFolder folder;
  write_file_atomically(folder / "a", "old");
  for (const FailureAction action : {FailureAction::kError, FailureAction::kFull}) {
    arm_failure(GetParam(), 1, action);
    EXPECT_THAT([&] { write_file_atomically(folder / "a", "new"); },
                testing::ThrowsMessage<Error>(testing::AllOf(
                    testing::HasSubstr(GetParam()),
                    testing::HasSubstr(action == FailureAction::kFull ? "No space left" : "Input/output error"))));
    EXPECT_EQ(read_file(folder / "a"), is_after_rename(GetParam()) ? "new" : "old");
    EXPECT_FALSE(std::filesystem::exists(folder / "a.tmp"));
  }
  disarm_failure();
}

TEST_P(AtomicFileFailure, AKillLeavesTheOldFileOrTheNewOneAndTheNextWriteSucceeds) {
  const TemporaryFolder folder;
  write_file_atomically(folder / "a", "old");
  const pid_t child = ::fork();
  if (child == 0) {
    arm_failure(GetParam(), 1, FailureAction::kKill);
    write_file_atomically(folder / "a", "new");
    ::_exit(0);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) << "the failure point was not passed";
  EXPECT_EQ(read_file(folder / "a"), is_after_rename(GetParam()) ? "new" : "old");

  write_file_atomically(folder / "a", "newer");
  EXPECT_EQ(read_file(folder / "a"), "newer");
  EXPECT_FALSE(std::filesystem::exists(folder / "a.tmp"));
}

INSTANTIATE_TEST_SUITE_P(EveryStep, AtomicFileFailure, testing::ValuesIn(kSteps), [](const auto& instance) {
  return std::string(instance.param).substr(std::string("atomic_file.").size());
});

}  // namespace
}  // namespace cskd::runtime

#include "runtime/run_lock.h"

#include <csignal>
#include <fstream>
#include <thread>

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runtime/error.h"
#include "tests/temporary_folder.h"

namespace cskd::runtime {
namespace {

using std::chrono::milliseconds;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr RunLock::Timing kFast{
    .sign_of_life = milliseconds(20), .stale_after = milliseconds(400), .poll = milliseconds(20)};

class RunLockTest : public testing::Test {
 protected:
  std::unique_ptr<RunLock> take() {
    return std::make_unique<RunLock>(
        folder_.path(), [this](const std::string& text) { told_.push_back(text); }, kFast);
  }

  // Forks a process that takes the lock and sleeps; returns when it holds it.
  pid_t hold_elsewhere() const {
    const pid_t child = ::fork();
    if (child == 0) {
      const RunLock lock(
          folder_.path(), [](const std::string&) {}, kFast);
      for (;;) ::pause();
    }
    while (!std::filesystem::exists(path()) || !tests::read_file(path()).ends_with("\n"))
      std::this_thread::sleep_for(milliseconds(5));
    return child;
  }

  static void kill_child(pid_t child) {
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
  }

  // A lock file of a process on another host, which no lock of the operating system tells of.
  void write_foreign() const { std::ofstream(path()) << "elsewhere, process 12, since 2026-01-01 00:00:00 UTC\n"; }

  std::filesystem::path path() const { return folder_ / "run.lock"; }

  tests::TemporaryFolder folder_;
  std::vector<std::string> told_;
};

TEST_F(RunLockTest, IsTakenAndGivenBack) {
  {
    const auto lock = take();
    EXPECT_THAT(tests::read_file(path()), HasSubstr("process " + std::to_string(::getpid())));
  }
  EXPECT_FALSE(std::filesystem::exists(path()));
  EXPECT_TRUE(told_.empty());
}

TEST_F(RunLockTest, IsRefusedWhileAnotherProcessHoldsIt) {
  const pid_t child = hold_elsewhere();
  std::string error;
  try {
    take();
  } catch (const UsageError& found) {
    error = found.what();
  }
  EXPECT_THAT(error, HasSubstr("another job works in " + folder_.path().native()));
  EXPECT_THAT(error, HasSubstr("process " + std::to_string(child)));
  kill_child(child);
}

TEST_F(RunLockTest, IsTakenOverFromAKilledProcessAtOnce) {
  const pid_t child = hold_elsewhere();
  kill_child(child);
  const auto lock = take();
  EXPECT_THAT(told_, ElementsAre(testing::AllOf(HasSubstr("process " + std::to_string(child)),
                                                HasSubstr("ended without a word: taken over"))));
}

TEST_F(RunLockTest, OfAnotherHostIsTakenOverOnceItIsOld) {
  write_foreign();
  const auto lock = take();
  ASSERT_EQ(told_.size(), 2U);
  EXPECT_THAT(told_[0], testing::AllOf(HasSubstr("elsewhere, process 12"), HasSubstr("waiting up to")));
  EXPECT_THAT(told_[1], HasSubstr("taken over"));
}

TEST_F(RunLockTest, OfAnotherHostThatLivesIsRefused) {
  write_foreign();
  std::thread other([&] {
    for (int i = 0; i < 10; ++i) {
      std::this_thread::sleep_for(milliseconds(40));
      ::utimensat(AT_FDCWD, path().c_str(), nullptr, 0);
    }
  });
  EXPECT_THROW(take(), UsageError);
  other.join();
  EXPECT_TRUE(std::filesystem::exists(path()));
}

TEST_F(RunLockTest, SetWithAClockThatWentBackwardsIsNotHeldForEver) {
  write_foreign();
  const timespec future{.tv_sec = std::time(nullptr) + 86400, .tv_nsec = 0};
  const timespec times[2]{future, future};
  ::utimensat(AT_FDCWD, path().c_str(), times, 0);
  EXPECT_NE(take(), nullptr);
}

TEST_F(RunLockTest, GivesSignsOfLife) {
  const auto lock = take();
  struct stat before {};
  ::stat(path().c_str(), &before);
  std::this_thread::sleep_for(milliseconds(200));
  struct stat after {};
  ::stat(path().c_str(), &after);
  EXPECT_TRUE(after.st_mtim.tv_sec > before.st_mtim.tv_sec || after.st_mtim.tv_nsec > before.st_mtim.tv_nsec);
}

TEST_F(RunLockTest, FolderThatIsMissingIsNamed) {
  EXPECT_THROW(RunLock(
                   folder_ / "missing", [](const std::string&) {}, kFast),
               Error);
}

}  // namespace
}  // namespace cskd::runtime

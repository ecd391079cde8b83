#include "runtime/run_lock.h"

#include <csignal>
#include <ctime>
#include <fstream>
#include <mutex>
#include <thread>

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runtime/error.h"
#include "tests/support/temporary_folder.h"

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
        folder_.path(),
        [this](const std::string& text) {
          const std::lock_guard guard(mutex_);
          told_.push_back(text);
        },
        kFast);
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

  std::vector<std::string> names() const {
    std::vector<std::string> names;
    for (const auto& item : std::filesystem::directory_iterator(folder_.path()))
      names.push_back(item.path().filename());
    return names;
  }

  std::vector<std::string> told() {
    const std::lock_guard guard(mutex_);
    return told_;
  }

  tests::TemporaryFolder folder_;
  std::mutex mutex_;
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

TEST_F(RunLockTest, LeavesNothingElseInTheFolder) {
  write_foreign();
  std::ofstream(folder_ / "run.lock.after-0123") << "of one that was killed long ago";
  const timespec past{.tv_sec = std::time(nullptr) - 60, .tv_nsec = 0};
  const timespec times[2]{past, past};
  ::utimensat(AT_FDCWD, (folder_ / "run.lock.after-0123").c_str(), times, 0);
  {
    const auto lock = take();
    EXPECT_EQ(names(), std::vector<std::string>{"run.lock"});
  }
  EXPECT_TRUE(names().empty());
}

TEST_F(RunLockTest, LostToAnotherOneIsTold) {
  const auto lock = take();
  std::filesystem::rename(path(), folder_ / "old");
  write_foreign();
  for (int i = 0; i < 400 && told().empty(); ++i) std::this_thread::sleep_for(milliseconds(5));
  EXPECT_THAT(told(), ElementsAre(HasSubstr("no longer the lock of this job")));
}

TEST_F(RunLockTest, LostToAnotherOneIsNotRemoved) {
  {
    const auto lock = take();
    std::filesystem::rename(path(), folder_ / "old");
    write_foreign();
  }
  EXPECT_THAT(tests::read_file(path()), HasSubstr("elsewhere"));
}

TEST_F(RunLockTest, DamagedFilesAreForeignOnes) {
  for (const std::string& text : {std::string(), std::string("\0\x01\xff", 3), std::string(10000, 'x'),
                                  std::string("x\nid=../../etc process=999999999999 started=-1 boot= flock=1\n")}) {
    std::ofstream(path()) << text;
    EXPECT_NE(take(), nullptr);
    EXPECT_TRUE(names().empty());
  }
}

TEST_F(RunLockTest, ClaimsInACircleAreAnError) {
  std::ofstream(path()) << "elsewhere, process 1\nid=aa\n";
  std::ofstream(folder_ / "run.lock.after-aa") << "elsewhere, process 2\nid=aa\n";
  EXPECT_THAT([this] { take(); }, testing::ThrowsMessage<Error>(HasSubstr("remove them by hand")));
}

TEST_F(RunLockTest, FolderThatIsMissingIsNamed) {
  EXPECT_THROW(RunLock(
                   folder_ / "missing", [](const std::string&) {}, kFast),
               Error);
}

}  // namespace
}  // namespace cskd::runtime

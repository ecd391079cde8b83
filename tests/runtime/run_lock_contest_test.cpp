// Many starters at the same moment, on file systems that lack locks, hard links or both.
#include <algorithm>
#include <cerrno>
#include <csignal>
#include <fstream>
#include <functional>
#include <random>
#include <thread>

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runtime/error.h"
#include "runtime/failure_point.h"
#include "runtime/run_lock.h"
#include "tests/support/temporary_folder.h"

namespace cskd::runtime {
namespace {

using std::chrono::milliseconds;
using testing::HasSubstr;

// A holder that is not stopped for longer than `stale_after` is never taken for gone, however busy this machine is.
constexpr RunLock::Timing kContest{
    .sign_of_life = milliseconds(50), .stale_after = milliseconds(3000), .poll = milliseconds(5)};

template <int kError>
int failing_flock(int, int) {
  errno = kError;
  return -1;
}
template <int kError>
int failing_link(const char*, const char*) {
  errno = kError;
  return -1;
}
// An answer that gets lost: the request is sent again.
int link_answered_twice(const char* from, const char* to) {
  if (::link(from, to) != 0) return -1;
  errno = EEXIST;
  return -1;
}

struct Kind {
  const char* name;
  RunLock::Calls calls;
};

const Kind kKinds[] = {
    {"AllThere", {}},
    {"FlockEnosys", {.flock = failing_flock<ENOSYS>}},
    {"FlockEopnotsupp", {.flock = failing_flock<EOPNOTSUPP>}},
    {"FlockEnolck", {.flock = failing_flock<ENOLCK>}},
    {"LinkEperm", {.link = failing_link<EPERM>}},
    {"LinkAnsweredTwice", {.flock = failing_flock<ENOSYS>, .link = link_answered_twice}},
    {"Neither", {.flock = failing_flock<ENOSYS>, .link = failing_link<EOPNOTSUPP>}},
};

class RunLockContest : public testing::TestWithParam<Kind> {
 protected:
  std::unique_ptr<RunLock> take(const RunLock::Timing& timing = kContest) const {
    return std::make_unique<RunLock>(
        folder_.path(), [](const std::string&) {}, timing, GetParam().calls);
  }

  // Holds the lock, and proves that nobody else does.
  void work_alone() const {
    const std::filesystem::path proof = folder_ / "alone";
    const int made = ::open(proof.c_str(), O_CREAT | O_EXCL | O_WRONLY, 0600);
    if (made < 0) std::ofstream(folder_ / "two at once") << "x";
    ::close(made);
    std::this_thread::sleep_for(milliseconds(3));
    ::unlink(proof.c_str());
  }

  // Each in a process of its own; returns their exit codes: 0 held it, 3 was refused.
  static std::vector<int> processes(int count, const std::function<void()>& act) {
    const auto start = std::chrono::steady_clock::now() + milliseconds(count > 1 ? 10 : 0);
    std::vector<pid_t> children;
    for (int i = 0; i < count; ++i) {
      const pid_t child = ::fork();
      if (child == 0) {
        try {
          std::this_thread::sleep_until(start);
          act();
          ::_exit(0);
        } catch (const UsageError&) {
          ::_exit(3);
        } catch (const std::exception& error) {
          std::fputs(error.what(), stderr);
          ::_exit(4);
        }
      }
      children.push_back(child);
    }
    std::vector<int> codes;
    for (const pid_t child : children) {
      int status = 0;
      ::waitpid(child, &status, 0);
      codes.push_back(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
    }
    return codes;
  }

  void expect_one_at_a_time() const {
    const std::vector<int> codes = processes(8, [this] {
      std::minstd_rand chance(static_cast<unsigned>(::getpid()));
      for (int i = 0; i < 5; ++i) {
        try {
          const auto lock = take();
          work_alone();
          return;
        } catch (const UsageError&) {
          std::this_thread::sleep_for(std::chrono::microseconds(chance() % 3000));
        }
      }
      throw UsageError("refused each time");
    });
    EXPECT_THAT(codes, testing::Each(testing::AnyOf(0, 3)));
    EXPECT_THAT(codes, testing::Contains(0));
    EXPECT_FALSE(std::filesystem::exists(folder_ / "two at once"));
  }

  std::vector<std::string> lock_files() const {
    std::vector<std::string> names;
    for (const auto& item : std::filesystem::directory_iterator(folder_.path())) {
      if (item.path().filename().native().starts_with("run.lock")) names.push_back(item.path().filename());
    }
    return names;
  }

  std::filesystem::path path() const { return folder_ / "run.lock"; }

  // Of another host, silent for a long time.
  void write_old() const {
    std::ofstream(path()) << "elsewhere, process 12, since 2026-01-01 00:00:00 UTC\nid=" << ++number_ << "\n";
    const timespec past{.tv_sec = std::time(nullptr) - 2 * 86400, .tv_nsec = 0};
    const timespec times[2]{past, past};
    ::utimensat(AT_FDCWD, path().c_str(), times, 0);
  }

  tests::TemporaryFolder folder_;
  mutable int number_ = 0;
};

TEST_P(RunLockContest, OneAtATimeWinsAFreeFolder) {
  for (int round = 0; round < 20; ++round) expect_one_at_a_time();
  EXPECT_THAT(lock_files(), testing::IsEmpty());
}

TEST_P(RunLockContest, OneAtATimeTakesOverAnOldLock) {
  for (int round = 0; round < 20; ++round) {
    write_old();
    expect_one_at_a_time();
  }
  EXPECT_THAT(lock_files(), testing::IsEmpty());
}

TEST_P(RunLockContest, OneAtATimeTakesOverFromThoseThatWereKilledWhileTakingOver) {
  for (int round = 0; round < 4; ++round) {
    write_old();
    // Before the claim, and after it; then one that takes over from the second and is killed as well.
    for (const char* place : {"run_lock.claim", "run_lock.replace", "run_lock.replace"}) {
      const std::vector<int> codes = processes(1, [&] {
        arm_failure(place, 1, FailureAction::kKill);
        take();
      });
      ASSERT_EQ(codes.front(), 128 + SIGKILL);
    }
    expect_one_at_a_time();
  }
  EXPECT_FALSE(std::filesystem::exists(path()));
}

TEST_P(RunLockContest, OfAKilledProcessOfThisHostIsTakenOverAtOnce) {
  const std::vector<int> codes = processes(1, [this] {
    const auto lock = take();
    std::raise(SIGKILL);
  });
  ASSERT_EQ(codes.front(), 128 + SIGKILL);
  std::string told;
  const RunLock lock(
      folder_.path(), [&](const std::string& text) { told += text; }, kContest, GetParam().calls);
  EXPECT_THAT(told, HasSubstr("taken over"));
  EXPECT_THAT(told, testing::Not(HasSubstr("waiting")));
}

TEST_P(RunLockContest, OfALivingProcessIsRefusedByName) {
  const auto lock = take();
  const std::vector<int> codes = processes(1, [this] {
    try {
      take();
    } catch (const UsageError& error) {
      if (std::string(error.what()).find("process " + std::to_string(::getppid())) == std::string::npos)
        throw Error("?");
      throw;
    }
  });
  EXPECT_EQ(codes.front(), 3);
}

// The holder is on another host by all that the file says, so that only its signs of life tell.
TEST_P(RunLockContest, OfAnotherHostIsRefusedAsLongAsItGivesSignsOfLife) {
  std::ofstream(path()) << "elsewhere, process 12, since 2026-01-01 00:00:00 UTC\nid=abc\n";
  std::jthread other([this](const std::stop_token& stop) {
    while (!stop.stop_requested()) {
      std::this_thread::sleep_for(milliseconds(20));
      ::utimensat(AT_FDCWD, path().c_str(), nullptr, 0);
    }
  });
  EXPECT_THROW(take(), UsageError);
}

// Its times are an hour behind, as those of clients may be.
TEST_P(RunLockContest, OfAnotherHostWithAnotherClockIsRefusedAsLongAsItGivesSignsOfLife) {
  std::ofstream(path()) << "elsewhere, process 12, since 2026-01-01 00:00:00 UTC\nid=abc\n";
  const auto touch = [this](int i) {
    const timespec past{.tv_sec = std::time(nullptr) - 3600 + i, .tv_nsec = 0};
    const timespec times[2]{past, past};
    ::utimensat(AT_FDCWD, path().c_str(), times, 0);
  };
  touch(0);
  std::jthread other([&](const std::stop_token& stop) {
    for (int i = 1; !stop.stop_requested(); ++i) {
      std::this_thread::sleep_for(milliseconds(20));
      touch(i);
    }
  });
  EXPECT_THROW(take(), UsageError);
}

INSTANTIATE_TEST_SUITE_P(Each, RunLockContest, testing::ValuesIn(kKinds),
                         [](const auto& instance) { return std::string(instance.param.name); });

TEST(RunLockError, OtherErrorsOfFlockAreErrors) {
  const tests::TemporaryFolder folder;
  EXPECT_THAT([&] { RunLock(folder.path(), [](const std::string&) {}, kContest, {.flock = failing_flock<EIO>}); },
              testing::ThrowsMessage<Error>(HasSubstr("cannot lock")));
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

}  // namespace
}  // namespace cskd::runtime

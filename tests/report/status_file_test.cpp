#include "report/status_file.h"

#include <chrono>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/error.h"
#include "runtime/failure_point.h"
#include "runtime/host.h"
#include "tests/support/captured_log.h"
#include "tests/support/temporary_folder.h"

namespace cskd::report {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::seconds;
using std::chrono::steady_clock;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using tests::CapturedLog;
using tests::TemporaryFolder;

double unix_time() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

class StatusFileTest : public testing::Test {
 protected:
  // Waits for a status that is `wanted`.
  template <typename Wanted>
  Status wait_for(const Wanted& wanted) const {
    for (const auto end = steady_clock::now() + seconds(20); steady_clock::now() < end;) {
      if (std::filesystem::exists(status_path(run_.path()))) {
        if (Status status = read_status(run_.path()); wanted(status)) return status;
      }
      std::this_thread::sleep_for(milliseconds(1));
    }
    ADD_FAILURE() << "it did not come";
    return {};
  }
  Status wait_for_step(std::int64_t step) const {
    return wait_for([step](const Status& status) { return status.step == step; });
  }

  CapturedLog log_;
  TemporaryFolder run_;
};

TEST_F(StatusFileTest, WritesWhatWasSetAndWhoWroteIt) {
  const double before = unix_time();
  StatusFile file(run_.path());
  EXPECT_FALSE(std::filesystem::exists(status_path(run_.path())));
  file.set({.stage = "align", .step = 3, .steps = 10, .loss = 0.5, .ranks = 2, .host = "ignored", .pid = 1});
  const Status status = wait_for_step(3);
  EXPECT_EQ(status.stage, "align");
  EXPECT_EQ(status.loss, 0.5);
  EXPECT_EQ(status.ranks, 2);
  EXPECT_EQ(status.host, runtime::host_name());
  EXPECT_EQ(status.pid, ::getpid());
  EXPECT_THAT(status.process_namespace, testing::MatchesRegex("pid:\\[[0-9]+\\]"));
  EXPECT_LE(before, status.started + 0.001);
  EXPECT_LE(status.started, status.last_step_time);
  EXPECT_LE(status.last_step_time, status.updated);
  EXPECT_LE(status.updated, unix_time() + 0.001);
}

TEST_F(StatusFileTest, WritesAtMostOnceInAnIntervalAndTheLastAtTheEnd) {
  std::set<double> seen;
  const auto start = steady_clock::now();
  {
    StatusFile file(run_.path(), {.least_interval = milliseconds(300), .heartbeat = hours(1)});
    std::int64_t step = 0;
    while (seen.size() < 3 && steady_clock::now() - start < seconds(20)) {
      file.set({.stage = "align", .step = ++step, .steps = 1'000'000});
      if (std::filesystem::exists(status_path(run_.path()))) seen.insert(read_status(run_.path()).updated);
    }
    EXPECT_EQ(seen.size(), 3U);
    EXPECT_GE(steady_clock::now() - start, milliseconds(600));
    file.set({.state = RunState::kFinished, .stage = "align", .step = 1'000'000, .steps = 1'000'000});
  }
  EXPECT_EQ(read_status(run_.path()).state, RunState::kFinished);
}

TEST_F(StatusFileTest, GivesSignsOfLifeThoughNothingChanges) {
  StatusFile file(run_.path(), {.least_interval = milliseconds(10), .heartbeat = milliseconds(30)});
  file.set({.stage = "align", .step = 3, .steps = 10});
  const Status first = wait_for_step(3);
  const Status later = wait_for([&](const Status& status) { return status.updated > first.updated + 0.1; });
  EXPECT_NEAR(later.last_step_time, first.last_step_time, 0.05);
  EXPECT_NEAR(later.started, first.started, 0.05);
  EXPECT_GT(later.updated - later.last_step_time, 0.1);
}

TEST_F(StatusFileTest, KnowsHowLongStepsTake) {
  StatusFile file(run_.path(), {.least_interval = milliseconds(1)});
  Status status{.stage = "align", .steps = 100};
  const auto step = [&](std::int64_t number, milliseconds after) {
    std::this_thread::sleep_for(after);
    status.step = number;
    file.set(status);
    return wait_for_step(number);
  };
  file.set(status);
  EXPECT_EQ(step(1, milliseconds(200)).step_seconds, 0);  // the first takes longer
  const Status second = step(3, milliseconds(100));
  EXPECT_NEAR(second.longest_step_seconds, 2 * second.step_seconds, 1e-9);
  EXPECT_GE(second.step_seconds, 0.05);
  const Status third = step(4, milliseconds(300) + milliseconds(static_cast<int>(1000 * second.longest_step_seconds)));
  EXPECT_GE(third.longest_step_seconds, 0.3);
  EXPECT_NEAR(third.step_seconds, 0.9 * second.step_seconds + 0.1 * third.longest_step_seconds, 1e-9);
  status.stage = "distill";
  const Status other = step(0, milliseconds(1));
  EXPECT_EQ(other.step_seconds, 0);
  EXPECT_EQ(other.longest_step_seconds, 0);
}

TEST_F(StatusFileTest, ADiskThatFailsIsLoggedOnceAndTriedAgain) {
  StatusFile file(run_.path(), {.least_interval = milliseconds(1), .heartbeat = milliseconds(5)});
  for (std::int64_t step = 1; step <= 3; ++step) {
    runtime::arm_failure("status.write", 1, runtime::FailureAction::kFull);
    file.set({.stage = "align", .step = step, .steps = 10});
    wait_for_step(step);
  }
  EXPECT_THAT(log_.lines(), ElementsAre(testing::AllOf(HasSubstr("warning " + status_path(run_.path()).native() +
                                                                 " cannot be kept up to date"),
                                                       HasSubstr("No space left on device"))));
}

TEST_F(StatusFileTest, AWriteThatFailsLeavesTheFileBefore) {
  {
    StatusFile file(run_.path());
    file.set({.stage = "align", .step = 1});
  }
  for (const char* place : {"atomic_file.write", "atomic_file.verify", "atomic_file.rename"}) {
    StatusFile file(run_.path(), {.least_interval = hours(1), .heartbeat = hours(1)});
    runtime::arm_failure(place, 1, runtime::FailureAction::kFull);
    file.set({.stage = "align", .step = 2});
  }
  EXPECT_EQ(read_status(run_.path()).step, 1);
  EXPECT_EQ(log_.lines().size(), 3U);
}

// The file's first name is a pipe without a reader, which cannot be opened to write.
TEST_F(StatusFileTest, NobodyWaitsForADiskThatHangs) {
  const std::string pipe = status_path(run_.path()).native() + ".tmp";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  const auto start = steady_clock::now();
  {
    StatusFile file(run_.path(), {.least_interval = milliseconds(1), .close_timeout = milliseconds(50)});
    for (std::int64_t step = 0; step < 100; ++step) {
      file.set({.stage = "align", .step = step});
      std::this_thread::sleep_for(milliseconds(1));
    }
  }
  EXPECT_LT(steady_clock::now() - start, seconds(10));
  EXPECT_FALSE(std::filesystem::exists(status_path(run_.path())));
  const int reader = ::open(pipe.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  ASSERT_GE(reader, 0);
  while (std::filesystem::exists(pipe)) std::this_thread::sleep_for(milliseconds(1));
  std::this_thread::sleep_for(milliseconds(100));  // for the thread's end
  ::close(reader);
}

TEST_F(StatusFileTest, WithoutAStatusThereIsNoFile) {
  { const StatusFile file(run_.path()); }
  EXPECT_THAT(std::filesystem::directory_iterator(run_.path()), testing::Eq(std::filesystem::directory_iterator()));
  EXPECT_THAT(log_.lines(), IsEmpty());
}

}  // namespace
}  // namespace cskd::report

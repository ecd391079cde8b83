#include "report/health.h"

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runtime/host.h"

namespace cskd::report {
namespace {

using Process = Onlooker::Process;
using testing::AllOf;
using testing::Field;
using testing::StartsWith;

constexpr double kNow = 1'764'000'000;

// Written 2 s ago, 1 s after the last step.
Status running() {
  return {.stage = "align",
          .step = 100,
          .steps = 1000,
          .host = "node17",
          .pid = 4242,
          .started = kNow - 1000,
          .updated = kNow - 2,
          .last_step_time = kNow - 3,
          .step_seconds = 0.5,
          .longest_step_seconds = 2};
}

auto is(Verdict verdict, const std::string& text) {
  return AllOf(Field(&Health::verdict, verdict), Field(&Health::text, text));
}

TEST(Health, OfARunThatWritesIsGoodWhereverItIs) {
  for (const Process process : {Process::kThere, Process::kElsewhere})
    EXPECT_THAT(health_of(running(), {.now = kNow, .process = process}), is(Verdict::kHealthy, "healthy"));
}

TEST(Health, AProcessThatIsGoneIsSeenAtOnce) {
  EXPECT_THAT(health_of(running(), {.now = kNow, .process = Process::kGone}),
              is(Verdict::kSilent, "process 4242 is gone: it was killed or crashed"));
}

TEST(Health, AnOldStatusIsNoSignOfLife) {
  Status status = running();
  status.updated = kNow - 185;
  EXPECT_THAT(health_of(status, {.now = kNow, .process = Process::kElsewhere}),
              is(Verdict::kSilent, "no sign of life for 3 min 05 s: killed, or its machine is down"));
  EXPECT_THAT(health_of(status, {.now = kNow, .process = Process::kThere}),
              is(Verdict::kSilent,
                 "no sign of life for 3 min 05 s: process 4242 runs, but does not write: it is suspended, or its disk "
                 "is full or hangs"));
  status.updated = kNow - kSilentAfter;
  EXPECT_EQ(health_of(status, {.now = kNow}).verdict, Verdict::kHealthy);
}

TEST(Health, ALongTimeWithoutAStepIsAStall) {
  Status status = running();
  status.last_step_time = status.updated - 59;
  EXPECT_EQ(health_of(status, {.now = kNow}).verdict, Verdict::kHealthy);
  status.last_step_time = status.updated - 61;
  EXPECT_THAT(health_of(status, {.now = kNow}),
              is(Verdict::kStalled, "alive, but no step for 1 min 01 s, where 1 s is usual"));
  status.step_seconds = 10;
  EXPECT_EQ(health_of(status, {.now = kNow}).verdict, Verdict::kHealthy);
  status.last_step_time = status.updated - 201;
  EXPECT_EQ(health_of(status, {.now = kNow}).verdict, Verdict::kStalled);
  status.longest_step_seconds = 120;
  EXPECT_EQ(health_of(status, {.now = kNow}).verdict, Verdict::kHealthy);
  status.last_step_time = status.updated - 241;
  EXPECT_EQ(health_of(status, {.now = kNow}).verdict, Verdict::kStalled);
}

TEST(Health, TheFirstStepMayTakeLonger) {
  Status status = running();
  status.step_seconds = 0;
  status.longest_step_seconds = 0;
  status.last_step_time = status.updated - 599;
  EXPECT_EQ(health_of(status, {.now = kNow}).verdict, Verdict::kHealthy);
  status.last_step_time = status.updated - 601;
  EXPECT_THAT(health_of(status, {.now = kNow}), is(Verdict::kStalled, "alive, but no step for 10 min 01 s"));
}

TEST(Health, WithoutStepsToDoNothingStalls) {
  Status status = running();
  status.last_step_time = status.updated - 10'000;
  status.steps = 0;
  EXPECT_EQ(health_of(status, {.now = kNow}).verdict, Verdict::kHealthy);
  status.steps = status.step;
  EXPECT_EQ(health_of(status, {.now = kNow}).verdict, Verdict::kHealthy);
}

TEST(Health, OfARunThatEndedIsItsEndHoweverOld) {
  Status status = running();
  status.updated = kNow - 1e6;
  status.message = "the disk is full";
  const Onlooker onlooker{.now = kNow, .process = Process::kGone};
  status.state = RunState::kFinished;
  EXPECT_THAT(health_of(status, onlooker), is(Verdict::kFinished, "finished"));
  status.state = RunState::kStopped;
  EXPECT_THAT(health_of(status, onlooker),
              is(Verdict::kStopped, "stopped at a checkpoint; the same command continues"));
  status.state = RunState::kFailed;
  EXPECT_THAT(health_of(status, onlooker), is(Verdict::kFailed, "the disk is full"));
  status.message.clear();
  EXPECT_THAT(health_of(status, onlooker), is(Verdict::kFailed, "failed"));
}

TEST(Health, ClocksThatDifferDoNotMatterToWhoSeesItChange) {
  for (const double ahead : {-3600.0, 3600.0}) {
    Status status = running();
    status.updated += ahead;
    status.last_step_time += ahead;
    const auto verdict = [&](double unchanged) {
      return health_of(status, {.now = kNow, .unchanged = unchanged, .saw_it_change = true}).verdict;
    };
    EXPECT_EQ(verdict(0), Verdict::kHealthy) << ahead;
    EXPECT_EQ(verdict(59), Verdict::kHealthy) << ahead;
    EXPECT_EQ(verdict(61), Verdict::kSilent) << ahead;
  }
}

TEST(Health, AStatusOfTheFutureIsNoSignOfLifeByItself) {
  Status status = running();
  status.updated = kNow + 300;
  status.last_step_time = kNow + 299;
  EXPECT_THAT(health_of(status, {.now = kNow}),
              is(Verdict::kSilent, "no sign of life seen yet; its clock is 5 min 00 s ahead of the one here"));
  EXPECT_EQ(health_of(status, {.now = kNow, .process = Process::kThere}).verdict, Verdict::kHealthy);
  EXPECT_THAT(health_of(status, {.now = kNow, .unchanged = 61}).text, StartsWith("no sign of life for 1 min 01 s"));
  // Clocks that differ a little are usual.
  status.updated = kNow + 30;
  EXPECT_EQ(health_of(status, {.now = kNow}).verdict, Verdict::kHealthy);
}

TEST(Health, AClockThatWasSetBackGivesNoNegativeTimes) {
  Status status = running();
  status.last_step_time = status.updated + 5000;
  status.started = status.updated + 5000;
  EXPECT_EQ(health_of(status, {.now = kNow}).verdict, Verdict::kHealthy);
}

TEST(Process, IsLookedForOnItsOwnHostOnly) {
  Status status = running();
  status.host = runtime::host_name();
  status.process_namespace = runtime::process_namespace();
  status.pid = ::getpid();
  EXPECT_EQ(look_for_process(status), Process::kThere);
  const pid_t child = ::fork();
  if (child == 0) ::_exit(0);
  ::waitpid(child, nullptr, 0);
  status.pid = child;
  EXPECT_EQ(look_for_process(status), Process::kGone);
  status.pid = 1;  // perhaps of another user
  EXPECT_EQ(look_for_process(status), Process::kThere);
  status.pid = child;
  status.process_namespace = "pid:[1]";
  EXPECT_EQ(look_for_process(status), Process::kElsewhere);
  status.process_namespace = runtime::process_namespace();
  status.host = "another";
  EXPECT_EQ(look_for_process(status), Process::kElsewhere);
}

}  // namespace
}  // namespace cskd::report

#include "runtime/stop_signal.h"

#include <csignal>

#include <gtest/gtest.h>

#include "runtime/check.h"

namespace cskd::runtime {
namespace {

TEST(StopSignal, RemembersTheFirstSignalAsLongAsItLives) {
  {
    const StopSignal stop;
    EXPECT_EQ(StopSignal::received(), 0);
    std::raise(SIGUSR1);
    EXPECT_EQ(StopSignal::received(), SIGUSR1);
  }
  EXPECT_EQ(StopSignal::received(), 0);
}

TEST(StopSignal, ADeadlineCountsEarlyEnoughForWhatIsReserved) {
  using std::chrono::seconds;
  {
    const StopSignal stop(StopSignal::Clock::now() + seconds(60));
    EXPECT_EQ(StopSignal::received(), 0);
    StopSignal::reserve(seconds(50));
    EXPECT_EQ(StopSignal::received(), 0);
    StopSignal::reserve(seconds(61));
    EXPECT_EQ(StopSignal::received(), SIGALRM);
    StopSignal::reserve(seconds(1));
    EXPECT_EQ(StopSignal::received(), SIGALRM) << "what was decided stays";
  }
  const StopSignal without;
  StopSignal::reserve(seconds(1'000'000));
  EXPECT_EQ(StopSignal::received(), 0);
}

TEST(StopSignal, StartsAfreshAndRestoresWhatWasThere) {
  std::signal(SIGUSR1, SIG_IGN);
  {
    const StopSignal stop;
    EXPECT_EQ(StopSignal::received(), 0);
  }
  struct sigaction now {};
  ::sigaction(SIGUSR1, nullptr, &now);
  EXPECT_EQ(now.sa_handler, SIG_IGN);
  std::signal(SIGUSR1, SIG_DFL);
}

TEST(StopSignalDeathTest, ASecondSignalEndsTheProcessAtOnce) {
  EXPECT_EXIT(
      {
        const StopSignal stop;
        std::raise(SIGTERM);
        std::raise(SIGTERM);
        std::_Exit(0);
      },
      testing::KilledBySignal(SIGTERM), "");
}

TEST(StopSignal, OnlyOneAtATime) {
  const StopSignal first;
  EXPECT_THROW(StopSignal(), CheckFailure);
}

}  // namespace
}  // namespace cskd::runtime

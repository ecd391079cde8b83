#include "runtime/stop_signal.h"

#include <csignal>
#include <thread>

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

TEST(StopSignalDeathTest, ASecondSignalEndsTheProcessAtOnceUnlessItIsTheSameWish) {
  EXPECT_EXIT(
      {
        const StopSignal stop;
        std::raise(SIGTERM);
        std::raise(SIGTERM);
        std::raise(SIGINT);
        std::_Exit(StopSignal::received() == SIGTERM ? 7 : 8);
      },
      testing::ExitedWithCode(7), "");
  EXPECT_EXIT(
      {
        const StopSignal stop;
        std::raise(SIGTERM);
        std::this_thread::sleep_for(StopSignal::kRepeats);
        std::raise(SIGTERM);
        std::_Exit(0);
      },
      testing::KilledBySignal(SIGTERM), "");
}

TEST(StopSignal, HeedsALostTerminalUnlessStartedByNohup) {
  {
    const StopSignal stop;
    std::raise(SIGHUP);
    EXPECT_EQ(StopSignal::received(), SIGHUP);
  }
  std::signal(SIGHUP, SIG_IGN);
  {
    const StopSignal stop;
    std::raise(SIGHUP);
    EXPECT_EQ(StopSignal::received(), 0);
  }
  std::signal(SIGHUP, SIG_DFL);
}

TEST(StopSignal, OnlyOneAtATime) {
  const StopSignal first;
  EXPECT_THROW(StopSignal(), CheckFailure);
}

}  // namespace
}  // namespace cskd::runtime

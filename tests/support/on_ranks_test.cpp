// The harness against functions that fail, end, hang and throw: each must fail the test that runs them.
#include "tests/support/on_ranks.h"

#include <chrono>
#include <csignal>
#include <filesystem>
#include <functional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest-spi.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "tests/support/temporary_folder.h"

namespace cskd::tests {
namespace {

using namespace std::chrono_literals;
using runtime::World;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

// "failure <line> <text>" or "skip <line> <text>" for all that `act` reports.
std::vector<std::string> results_of(const std::function<void()>& act) {
  testing::TestPartResultArray found;
  {
    const testing::ScopedFakeTestPartResultReporter reporter(
        testing::ScopedFakeTestPartResultReporter::INTERCEPT_ALL_THREADS, &found);
    act();
  }
  std::vector<std::string> results;
  for (int i = 0; i < found.size(); ++i) {
    const testing::TestPartResult& result = found.GetTestPartResult(i);
    if (result.passed()) continue;
    if (result.failed()) {
      EXPECT_THAT(result.file_name(), testing::EndsWith("on_ranks_test.cpp"));
    }
    results.push_back((result.skipped() ? "skip " : "failure ") + std::to_string(result.line_number()) + " " +
                      result.message());
  }
  return results;
}

// The processes of the ranks that `act` runs on are told by files in `folder`.
void leave_process_number(const std::string& folder, const World& world) {
  std::ofstream(std::filesystem::path(folder) / std::to_string(world.rank())) << ::getpid();
}

// Also true of a process that nobody has waited for yet.
bool has_ended(const std::string& process) {
  std::ifstream file("/proc/" + process + "/stat");
  std::string number, name, state;
  return !(file >> number >> name >> state) || state == "Z" || state == "X";
}

std::vector<std::string> processes_in(const TemporaryFolder& folder) {
  std::vector<std::string> found;
  for (const auto& entry : std::filesystem::directory_iterator(folder.path())) found.push_back(read_file(entry.path()));
  return found;
}

TEST(OnRanks, AFunctionRunsOnEachOfThem) {
  for (const int ranks : {1, 2, 4}) {
    on_ranks(
        ranks, 20s,
        [](World& world, const std::string& size) {
          EXPECT_EQ(std::to_string(world.size()), size);
          const std::vector<std::string> found = world.all_gather(std::to_string(world.rank()));
          ASSERT_EQ(found.size(), static_cast<std::size_t>(world.size()));
          for (std::size_t rank = 0; rank < found.size(); ++rank) EXPECT_EQ(found[rank], std::to_string(rank));
        },
        std::to_string(ranks));
  }
}

TEST(OnRanks, AWorldIsKeptForTheNextFunction) {
  const TemporaryFolder first, second;
  const auto leave = [](World& world, const std::string& folder) { leave_process_number(folder, world); };
  on_ranks(2, 20s, leave, first.path());
  on_ranks(2, 20s, leave, second.path());
  EXPECT_EQ(processes_in(first), processes_in(second));
}

TEST(OnRanks, AnArgumentArrivesWholeOnEveryRank) {
  on_ranks(
      2, 20s, [](World&, const std::string& text) { EXPECT_EQ(text, "two\nlines, \"quoted\" \\ and \u00fc"); },
      "two\nlines, \"quoted\" \\ and \u00fc");
}

TEST(OnRanks, WhatFailsOnARankFailsTheTestAtItsPlace) {
  int line = 0;
  const auto results = results_of([&] {
    line = __LINE__ + 2;
    on_ranks(2, 20s, [](World& world) {
      EXPECT_EQ(world.rank(), 0) << "of " << world.size();
      ASSERT_EQ(world.rank(), 0);
      ADD_FAILURE() << "not on rank 1";
    });
  });
  const auto at = [&](int after, const std::string& rank) {
    return testing::StartsWith("failure " + std::to_string(line + after) + " Failed\non rank " + rank + " of 2: ");
  };
  EXPECT_THAT(results, ElementsAre(AllOf(at(2, "0"), HasSubstr("not on rank 1")),
                                   AllOf(at(0, "1"), HasSubstr("Expected equality"), HasSubstr("\nof 2")),
                                   AllOf(at(1, "1"), HasSubstr("Expected equality"))));
}

TEST(OnRanks, AFailureInAThreadOfARankCounts) {
  EXPECT_THAT(
      results_of([] { on_ranks(1, 20s, [](World&) { std::thread([] { ADD_FAILURE() << "in a thread"; }).join(); }); }),
      ElementsAre(HasSubstr("in a thread")));
}

TEST(OnRanks, AnExceptionIsAFailure) {
  EXPECT_THAT(results_of([] { on_ranks(1, 20s, [](World&) { throw std::runtime_error("a lost file"); }); }),
              ElementsAre(AllOf(HasSubstr("an exception left the function"), HasSubstr("a lost file"))));
}

TEST(OnRanks, ASkipOnARankSkipsTheTest) {
  EXPECT_THAT(results_of([] { on_ranks(1, 20s, [](World&) { GTEST_SKIP() << "no network"; }); }),
              ElementsAre(AllOf(testing::StartsWith("skip "), HasSubstr("no network"))));
}

TEST(OnRanks, ARankThatExitsIsNamedWithWhatItWrote) {
  EXPECT_THAT(results_of([] {
                on_ranks(2, 20s, [](World& world) {
                  if (world.rank() == 1) {
                    static_cast<void>(!::write(STDERR_FILENO, "enough of this\n", 15));
                    ::_exit(3);
                  }
                });
              }),
              ElementsAre(AllOf(HasSubstr("of 2 ranks, "), HasSubstr("1 ended within the function"),
                                HasSubstr("enough of this"))));
}

TEST(OnRanks, AKilledRankIsNamedAndTheOthersAreNotWaitedForAsLongAsTheLimit) {
  const auto start = std::chrono::steady_clock::now();
  const auto results = results_of([] {
    on_ranks(4, 10min, [](World& world) {
      if (world.rank() == 2) ::raise(SIGKILL);
      world.barrier();
    });
  });
  EXPECT_LT(std::chrono::steady_clock::now() - start, 5min);
  EXPECT_THAT(results, testing::Contains(HasSubstr("2 ended within the function")).Times(testing::Le(1)));
  EXPECT_THAT(results, testing::Contains(HasSubstr("ended within the function")));
}

TEST(OnRanks, AFunctionThatHangsIsEndedWithAllItsProcesses) {
  const TemporaryFolder folder;
  const auto results = results_of([&] {
    on_ranks(
        2, 1s,
        [](World& world, const std::string& path) {
          ::signal(SIGTERM, SIG_IGN);
          leave_process_number(path, world);
          while (world.rank() == 1) ::pause();
        },
        folder.path());
  });
  EXPECT_THAT(results, ElementsAre(AllOf(HasSubstr("of 2 ranks, 1 were not done within 1 s"), Not(HasSubstr("0,")))));
  const std::vector<std::string> processes = processes_in(folder);
  EXPECT_EQ(processes.size(), 2U);
  for (const std::string& process : processes) {
    for (int i = 0; i < 500 && !has_ended(process); ++i) std::this_thread::sleep_for(10ms);
    EXPECT_TRUE(has_ended(process)) << process;
  }
}

TEST(OnRanks, AWorldIsNewAfterAFailureAndWhenItIsBroken) {
  const TemporaryFolder first, second, third;
  EXPECT_THAT(results_of([&] {
                on_ranks(
                    2, 20s,
                    [](World& world, const std::string& folder) {
                      leave_process_number(folder, world);
                      if (world.rank() == 0) FAIL() << "out of step";
                    },
                    first.path());
              }),
              ElementsAre(HasSubstr("out of step")));
  on_ranks(
      2, 20s,
      [](World& world, const std::string& folder) {
        leave_process_number(folder, world);
        world.barrier();
        if (world.rank() == 0) world.declare_broken();
      },
      second.path());
  on_ranks(
      2, 20s,
      [](World& world, const std::string& folder) {
        leave_process_number(folder, world);
        EXPECT_FALSE(world.broken());
      },
      third.path());
  EXPECT_THAT(processes_in(first), testing::Each(Not(testing::AnyOfArray(processes_in(second)))));
  EXPECT_THAT(processes_in(second), testing::Each(Not(testing::AnyOfArray(processes_in(third)))));
}

TEST(OnRanks, ATimeoutThatAFunctionSetIsNotTheNextOnes) {
  on_ranks(1, 20s, [](World& world) { world.set_timeout(1ms); });
  on_ranks(1, 20s, [](World& world) { EXPECT_GT(world.timeout(), 1s); });
}

TEST(OnRanks, RanksThatCannotBeStartedAreAnError) {
  const std::string before = std::getenv("PATH");
  ::setenv("PATH", "/nonexistent", 1);
  EXPECT_THAT([] { on_ranks(3, 20s, [](World&) {}); },
              testing::ThrowsMessage<std::runtime_error>(
                  AllOf(HasSubstr("cannot start this program on 3 ranks"), HasSubstr("mpirun cannot be started"))));
  ::setenv("PATH", before.c_str(), 1);
}

}  // namespace
}  // namespace cskd::tests

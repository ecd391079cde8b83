// Work that ranks take, and the wish to stop; on 1, 2 and 4 ranks.
#include "runtime/work_queue.h"

#include <algorithm>
#include <csignal>
#include <mutex>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/stop_signal.h"
#include "runtime/threads.h"
#include "tests/support/on_ranks.h"

namespace cskd::runtime {
namespace {

using tests::on_ranks;

constexpr std::chrono::seconds kLimit{60};

class WorkQueueTest : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Ranks, WorkQueueTest, testing::Values(1, 2, 4), testing::PrintToStringParamName());

class WorkQueueOfSeveral : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Ranks, WorkQueueOfSeveral, testing::Values(2, 4), testing::PrintToStringParamName());

// All ranks' numbers, sorted.
std::vector<std::int64_t> gathered(World& world, const std::string& own) {
  std::vector<std::int64_t> all;
  for (const std::string& text : world.all_gather(own)) {
    std::istringstream numbers(text);
    for (std::int64_t number = 0; numbers >> number;) all.push_back(number);
  }
  std::sort(all.begin(), all.end());
  return all;
}

std::vector<std::int64_t> first_numbers(std::int64_t count) {
  std::vector<std::int64_t> numbers(static_cast<std::size_t>(count));
  for (std::int64_t i = 0; i < count; ++i) numbers[static_cast<std::size_t>(i)] = i;
  return numbers;
}

TEST_P(WorkQueueTest, GivesEachItemToOneTaker) {
  on_ranks(GetParam(), kLimit, [](World& world) {
    for (const int takers : {1, 3}) {
      for (const std::int64_t total : {0, 1, 3, 5, 64, 5000}) {
        std::string own;
        {
          WorkQueue queue(world, total, {.takers = takers});
          std::mutex mutex;
          run_on_threads(takers, [&](int) {
            while (const auto item = queue.next()) {
              const std::lock_guard lock(mutex);
              own += std::to_string(*item) + " ";
            }
          });
          queue.finish("testing");
        }
        EXPECT_EQ(gathered(world, own), first_numbers(total)) << takers << " takers";
      }
    }
  });
}

TEST_P(WorkQueueOfSeveral, AnswersWhileRank0IsBusy) {
  on_ranks(GetParam(), kLimit, [](World& world) {
    constexpr std::int64_t kTotal = 400;
    std::string own;
    WorkQueue queue(world, kTotal);
    // Rank 0 begins its first item, and is long at it.
    const auto take_one = [&] {
      const auto item = queue.next();
      if (item) own += std::to_string(*item) + " ";
      return item.has_value();
    };
    take_one();
    if (world.rank() == 0) std::this_thread::sleep_for(std::chrono::seconds(1));
    while (take_one()) {
    }
    queue.finish("testing");
    if (world.rank() == 0) {
      // All but what it held already.
      EXPECT_LE(std::count(own.begin(), own.end(), ' '), kTotal / 4);
    }
    EXPECT_EQ(gathered(world, own), first_numbers(kTotal));
  });
}

TEST_P(WorkQueueOfSeveral, FastRanksDoMore) {
  on_ranks(GetParam(), kLimit, [](World& world) {
    std::int64_t own = 0;
    WorkQueue queue(world, 200);
    while (queue.next()) {
      ++own;
      std::this_thread::sleep_for(std::chrono::milliseconds(world.rank() == 1 ? 20 : 1));
    }
    queue.finish("testing");
    if (world.rank() == 1) {
      EXPECT_LT(own, 200 / world.size());
    }
  });
}

TEST_P(WorkQueueTest, ASignalToOneRankStopsAll) {
  on_ranks(GetParam(), kLimit, [](World& world) {
    for (const int signalled : {0, world.size() - 1}) {
      const StopSignal stop;
      std::int64_t own = 0;
      WorkQueue queue(world, 1'000'000);
      while (queue.next()) {
        if (++own == 20 && world.rank() == signalled) ::raise(SIGUSR1);
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
      }
      EXPECT_TRUE(queue.stopping());
      EXPECT_THAT([&] { queue.finish("testing"); },
                  testing::ThrowsMessage<Stopped>("a signal asked to stop while testing; start again to go on"));
      if (world.rank() == signalled) {
        EXPECT_EQ(own, 20);
      }
      EXPECT_LT(own, 1000);
      world.barrier();
    }
  });
}

TEST_P(WorkQueueTest, ASignalIsNoticedWithinALongItem) {
  on_ranks(GetParam(), kLimit, [](World& world) {
    const StopSignal stop;
    WorkQueue queue(world, world.size());
    ASSERT_TRUE(queue.next().has_value());
    if (world.rank() == world.size() - 1) ::raise(SIGUSR1);
    while (!queue.stopping()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    EXPECT_THROW(queue.finish("testing"), Stopped);
    world.barrier();
  });
}

TEST_P(WorkQueueTest, CanBeDeafToSignals) {
  on_ranks(GetParam(), kLimit, [](World& world) {
    const StopSignal stop;
    ::raise(SIGUSR1);
    std::string own;
    WorkQueue queue(world, 50, {.heeds_signals = false});
    while (const auto item = queue.next()) own += std::to_string(*item) + " ";
    queue.finish("testing");
    EXPECT_EQ(gathered(world, own), first_numbers(50));
  });
}

TEST_P(WorkQueueTest, ItsCallsAfterTheEndGiveNothing) {
  on_ranks(GetParam(), kLimit, [](World& world) {
    WorkQueue queue(world, 3);
    while (queue.next()) {
    }
    EXPECT_EQ(queue.next(), std::nullopt);
    queue.finish("testing");
  });
}

}  // namespace
}  // namespace cskd::runtime

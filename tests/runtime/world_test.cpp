#include "runtime/world.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <string>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/error.h"
#include "tests/support/on_ranks.h"

namespace cskd::runtime {
namespace {

using tests::on_ranks;

constexpr std::chrono::seconds kLimit{30};

class WorldTest : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Ranks, WorldTest, testing::Values(1, 2, 4), testing::PrintToStringParamName());

class WorldOfSeveral : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Ranks, WorldOfSeveral, testing::Values(2, 4), testing::PrintToStringParamName());

TEST_P(WorldTest, RanksAndNodesAreConsistent) {
  on_ranks(GetParam(), kLimit, [](World& world) {
    EXPECT_GE(world.rank(), 0);
    EXPECT_LT(world.rank(), world.size());
    // mpirun on one machine: one node.
    EXPECT_EQ(world.nodes(), 1);
    EXPECT_EQ(world.node(), 0);
    EXPECT_EQ(world.local_rank(), world.rank());
    EXPECT_EQ(world.local_size(), world.size());
    EXPECT_FALSE(world.host().empty());
    const char* promised = std::getenv("OMPI_COMM_WORLD_SIZE");
    EXPECT_EQ(std::to_string(world.size()), promised != nullptr ? promised : "1");
  });
}

TEST_P(WorldTest, AllGatherKeepsRankOrderAnyLengthAndAnyByte) {
  on_ranks(GetParam(), kLimit, [](World& world) {
    const auto text_of = [](int rank) {
      return std::string(static_cast<size_t>(rank) * 70'000, static_cast<char>(rank));
    };
    const std::vector<std::string> texts = world.all_gather(text_of(world.rank()));
    ASSERT_EQ(texts.size(), static_cast<size_t>(world.size()));
    for (int rank = 0; rank < world.size(); ++rank) EXPECT_EQ(texts[static_cast<size_t>(rank)], text_of(rank));
  });
}

TEST_P(WorldTest, BroadcastGivesRankZerosText) {
  on_ranks(GetParam(), kLimit, [](World& world) {
    EXPECT_EQ(world.broadcast("from " + std::to_string(world.rank())), "from 0");
    EXPECT_EQ(world.broadcast(world.rank() == 0 ? "" : "something"), "");
  });
}

TEST_P(WorldTest, AnyIsTrueEverywhereWhenTrueOnce) {
  on_ranks(GetParam(), kLimit, [](World& world) {
    EXPECT_FALSE(world.any(false));
    EXPECT_TRUE(world.any(world.rank() == world.size() - 1));
  });
}

TEST_P(WorldTest, BarrierWaitsForTheSlowestRank) {
  on_ranks(GetParam(), kLimit, [](World& world) {
    using Clock = std::chrono::system_clock;
    if (world.rank() == 0) std::this_thread::sleep_for(std::chrono::milliseconds(100));
    const std::string arrived = std::to_string(Clock::now().time_since_epoch().count());
    world.barrier();
    const std::string left = std::to_string(Clock::now().time_since_epoch().count());
    const std::vector<std::string> arrivals = world.all_gather(arrived);
    EXPECT_GE(left, *std::max_element(arrivals.begin(), arrivals.end()));
  });
}

TEST_P(WorldTest, FailuresOfAllRanksAreExchanged) {
  on_ranks(GetParam(), kLimit, [](World& world) {
    const auto failures = world.exchange_failures("rank " + std::to_string(world.rank()), std::chrono::seconds(20));
    ASSERT_TRUE(failures.has_value());
    EXPECT_EQ(failures->back(), "rank " + std::to_string(world.size() - 1));
  });
}

TEST_P(WorldOfSeveral, ABarrierThatOneRankJoinsTooLateTimesOut) {
  on_ranks(GetParam(), kLimit, [](World& world) {
    if (world.rank() == 0) {
      world.set_timeout(std::chrono::milliseconds(300));
      EXPECT_THAT([&] { world.barrier(); },
                  testing::ThrowsMessage<Error>(testing::StartsWith("barrier: not every rank joined within 0.3 s")));
      EXPECT_TRUE(world.broken());
      world.set_timeout(std::chrono::minutes(1));
    } else {
      std::this_thread::sleep_for(std::chrono::seconds(1));
      world.barrier();
      EXPECT_FALSE(world.broken());
    }
    world.barrier();  // completes the barrier that rank 0 gave up: the others' needs its help
  });
}

}  // namespace
}  // namespace cskd::runtime

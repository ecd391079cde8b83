// Every rank stands for a host.
#include "doctor/link_probe.h"

#include <chrono>
#include <cmath>
#include <cstddef>
#include <filesystem>
#include <memory>
#include <string>

#include <gtest/gtest.h>

#include "doctor/shared_probe.h"
#include "tests/support/on_ranks.h"
#include "tests/support/temporary_folder.h"

namespace cskd::doctor {
namespace {

using runtime::World;
using tests::on_ranks;

constexpr std::chrono::seconds kLimit{90};

class LinkProbeTest : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Ranks, LinkProbeTest, testing::Values(1, 2, 4), testing::PrintToStringParamName());

class HostsTest : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Ranks, HostsTest, testing::Values(1, 2, 4), testing::PrintToStringParamName());

class SharedProbeTest : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Ranks, SharedProbeTest, testing::Values(1, 2, 4), testing::PrintToStringParamName());

std::vector<Host> every_rank(const World& world) {
  std::vector<Host> hosts;
  for (int rank = 0; rank < world.size(); ++rank) hosts.push_back({"h" + std::to_string(rank), rank});
  return hosts;
}

TEST_P(LinkProbeTest, MeasuresEveryPairOnce) {
  on_ranks(GetParam(), kLimit, [](World& world) {
    const LinkProbe probe = probe_links(world, every_rank(world), world.rank());
    std::string own;
    for (const LinkFacts& link : probe.links) {
      EXPECT_EQ(link.from, world.rank());
      EXPECT_GT(link.to, link.from);
      EXPECT_GT(link.latency_microseconds, 0);
      EXPECT_GT(link.mb_per_second, 0);
      EXPECT_FALSE(link.is_damaged);
      own += std::to_string(link.from) + "-" + std::to_string(link.to) + " ";
    }
    std::string all;
    for (const std::string& text : world.all_gather(own)) all += text;
    for (int from = 0; from < world.size(); ++from) {
      for (int to = from + 1; to < world.size(); ++to)
        EXPECT_NE(all.find(std::to_string(from) + "-" + std::to_string(to) + " "), std::string::npos);
    }
    EXPECT_EQ(all.size(), static_cast<std::size_t>(4 * world.size() * (world.size() - 1) / 2));
  });
}

TEST_P(LinkProbeTest, RanksOfOneMachineHaveOneClock) {
  on_ranks(GetParam(), kLimit, [](World& world) {
    const ClockFacts clock = probe_links(world, every_rank(world), world.rank()).clock;
    EXPECT_LE(std::abs(clock.ahead_seconds), clock.error_seconds + 1e-3);
    EXPECT_EQ(clock.error_seconds == 0, world.rank() == 0);
  });
}

TEST_P(LinkProbeTest, FewRoundsMeasureFewPairs) {
  on_ranks(GetParam(), kLimit, [](World& world) {
    const LinkProbe probe = probe_links(world, every_rank(world), world.rank(), 1);
    EXPECT_LE(probe.links.size(), 1U);
  });
}

TEST_P(LinkProbeTest, OtherRanksOfAHostOnlyWait) {
  on_ranks(GetParam(), kLimit, [](World& world) {
    const LinkProbe probe = probe_links(world, {{"h0", 0}}, world.rank() == 0 ? 0 : -1);
    EXPECT_TRUE(probe.links.empty());
  });
}

TEST_P(HostsTest, AreThoseOfTheWorld) {
  on_ranks(GetParam(), kLimit, [](World& world) {
    const std::vector<Host> hosts = hosts_of(world);
    ASSERT_EQ(hosts.size(), static_cast<std::size_t>(world.nodes()));
    EXPECT_EQ(hosts[0].rank, 0);
    EXPECT_EQ(hosts[static_cast<std::size_t>(world.node())].name, world.host());
  });
}

TEST_P(SharedProbeTest, AFolderOfThisMachineIsSeenByAll) {
  on_ranks(GetParam(), kLimit, [](World& world) {
    std::unique_ptr<tests::TemporaryFolder> folder;
    if (world.rank() == 0) folder = std::make_unique<tests::TemporaryFolder>();
    const std::filesystem::path path = world.broadcast(folder ? folder->path().native() : "");
    StepLimit steps(world, std::chrono::seconds(60));
    const SharedFacts facts = probe_shared_folder(path, world, steps);
    EXPECT_TRUE(facts.sees_rank_zero && facts.sees_replacement && facts.seen_by_rank_zero);
    EXPECT_EQ(facts.flock, "works");
    world.barrier();
    EXPECT_TRUE(!folder || std::filesystem::is_empty(path));
  });
}

TEST_P(SharedProbeTest, AFolderThatIsNotThereIsNotWaitedFor) {
  on_ranks(GetParam(), kLimit, [](World& world) {
    StepLimit steps(world, std::chrono::seconds(60));
    probe_shared_folder("/nonexistent/folder", world, steps, std::chrono::milliseconds(50));
  });
}

}  // namespace
}  // namespace cskd::doctor

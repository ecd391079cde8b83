// Hosts and links that differ from the others of a job, small or large.
#include <string>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "doctor/checks.h"
#include "tests/doctor/healthy_world.h"

namespace cskd::doctor {
namespace {

using testing::AllOf;
using testing::HasSubstr;

// What is found in a large world: the odd host by name, whatever rank 0 is, in a short text.
class LargeWorlds : public testing::TestWithParam<int> {
 protected:
  void expect_named(const WorldFacts& world, const std::string& check, const std::string& host_name) const {
    const Check found = find(world, check);
    EXPECT_GT(found.verdict, Verdict::kFine) << check;
    EXPECT_THAT(found.found, HasSubstr(host_name)) << check;
    EXPECT_LT(found.found.size(), 250U) << found.found;
    for (const Check& each : judge(world)) {
      if (each.name == check) continue;
      EXPECT_EQ(each.verdict, Verdict::kFine) << each.name << ": " << each.found;
    }
  }
};

TEST_P(LargeWorlds, TheOddHostIsNamed) {
  const int hosts = GetParam();
  for (const int odd : {0, hosts / 2, hosts - 1}) {
    const std::string name = "n" + std::to_string(odd);
    WorldFacts world = healthy_world(hosts, 4);
    for (RankFacts& rank : world.ranks) {
      if (rank.node == odd) rank.libraries["MPI"] = "Open MPI v5";
    }
    expect_named(world, "program", name + " has MPI Open MPI v5");

    world = healthy_world(hosts, 4);
    for (RankFacts& rank : world.ranks) {
      if (rank.node == odd) rank.compute.gflops = 84;
    }
    expect_named(world, "compute", name + " is slow: 84 GFLOP/s a rank, 100 elsewhere");

    world = healthy_world(hosts, 4);
    change_links(world, odd, [](LinkFacts& link) { link.mb_per_second = 100; });
    expect_named(world, "links", name + " is slow to reach: 100 MB/s");

    world = healthy_world(hosts, 4);
    change_links(world, odd, [](LinkFacts& link) { link.latency_microseconds = 9000; });
    expect_named(world, "links", name + " is slow to reach: ");

    world = healthy_world(hosts, 4);
    host(world, odd).network.segments = {50000, 5000};
    expect_named(world, "links", name + " had to send 10.0 %");

    // Rank 0's clock is the one that others are measured by.
    world = healthy_world(hosts, 4);
    for (int node = 0; node < hosts; ++node) {
      const double ahead = odd == 0 ? 45 : 0;
      host(world, node).clock = {node == 0 ? 0 : node == odd ? -45 : ahead, 1e-3};
    }
    expect_named(world, "clocks", name + " is 45.0 s behind the others");

    world = healthy_world(hosts, 4);
    host(world, odd).disk.write_mb_per_second = 30;
    expect_named(world, "disk", name);
  }
}

TEST_P(LargeWorlds, ASlowLinkIsNamedByItsEnds) {
  WorldFacts world = healthy_world(GetParam(), 4);
  LinkFacts& link = host(world, 0).network.links.front();
  link.mb_per_second = 300;
  expect_named(world, "links", "n0 and n" + std::to_string(link.to) + ": 300 MB/s");
}

TEST_P(LargeWorlds, ManyOddHostsAreCounted) {
  const int hosts = GetParam();
  WorldFacts world = healthy_world(hosts, 4);
  const int odd = (hosts - 1) / 2;
  for (int node = 0; node < odd; ++node) host(world, node).shared.sees_rank_zero = false;
  const Check check = find(world, "run folder");
  EXPECT_EQ(check.verdict, Verdict::kWrong);
  EXPECT_THAT(check.found, HasSubstr(odd == 1 ? "n0 does not see" : fmt::format("and {} more do not see", odd - 3)));
}

INSTANTIATE_TEST_SUITE_P(Each, LargeWorlds, testing::Values(3, 100, 1000),
                         [](const auto& instance) { return std::to_string(instance.param); });

TEST(Checks, TwoSlowHostsOfFourAreBothNamed) {
  WorldFacts world = healthy_world(4, 1);
  for (const int node : {1, 3}) change_links(world, node, [](LinkFacts& link) { link.mb_per_second = 50; });
  std::string found;
  for (const Check& check : judge(world)) {
    if (check.name == "links") found += check.found + "\n";
  }
  EXPECT_THAT(found, AllOf(HasSubstr("n1 is slow"), HasSubstr("n3 is slow"), testing::Not(HasSubstr("n0 ")),
                           testing::Not(HasSubstr("n2 "))));
}

}  // namespace
}  // namespace cskd::doctor

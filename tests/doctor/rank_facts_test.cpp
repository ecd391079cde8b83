#include "doctor/rank_facts.h"

#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "doctor/checks.h"
#include "tests/doctor/healthy_world.h"

namespace cskd::doctor {
namespace {

using testing::HasSubstr;

TEST(Identities, TheOddBuildIsNamed) {
  std::vector<Identity> ranks(100, {.host = "n0", .program_version = "0.1.0", .build = "aaaa", .configuration = ""});
  for (std::size_t i = 0; i < ranks.size(); ++i) ranks[i].host = "n" + std::to_string(i / 4);
  EXPECT_TRUE(judge(ranks).empty());
  ranks[0].build = ranks[1].build = ranks[2].build = ranks[3].build = "bbbb";
  const Checks checks = judge(ranks);
  ASSERT_EQ(checks.size(), 1U);
  EXPECT_EQ(checks[0].verdict, Verdict::kWrong);
  EXPECT_EQ(checks[0].found, "n0 runs cskd 0.1.0 (build bbbb), the others cskd 0.1.0 (build aaaa)");
  EXPECT_THAT(checks[0].remedy, HasSubstr("same build"));
}

TEST(Identities, SurviveTheirText) {
  const Identity identity{"n0", "0.1.0", "abc", "c0ffee"};
  EXPECT_EQ(Identity::parse(identity.text()).text(), identity.text());
  EXPECT_EQ(Identity::parse("").build, "");
}

TEST(RankFacts, SurviveTheirJson) {
  RankFacts facts = healthy_rank(3, 4);
  facts.accelerators.gpus = {
      {.name = "H200", .uuid = "GPU-1", .compute_capability = "9.0", .memory_total = 141 * kGiB}};
  facts.sources = {{"a", "/x", "gone"}};
  facts.network.links = {{.from = 1, .to = 2, .latency_microseconds = 3, .mb_per_second = 4}};
  facts.gpu_health.gpus.resize(1);
  facts.gpu_health.gpus[0].throttling = {"power brake"};
  facts.environment["OMP_NUM_THREADS"] = "\xff not UTF-8";
  const std::string text = to_json_text(facts);
  const RankFacts again = rank_facts_from_json(text);
  EXPECT_EQ(to_json_text(again), text);
  EXPECT_EQ(again.accelerators.gpus.at(0).uuid, "GPU-1");
  EXPECT_THAT([] { rank_facts_from_json("{}"); },
              testing::ThrowsMessage<std::exception>(HasSubstr("the same program")));
}

}  // namespace
}  // namespace cskd::doctor

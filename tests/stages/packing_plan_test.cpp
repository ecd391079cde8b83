#include "stages/packing_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace cskd::stages {
namespace {

using shards::Split;

struct Picture {
  const char* key;
  const char* contents;
  Split split = Split::kUnlabelled;
  const char* fault = "";
};

CheckedSource source(const char* name, const std::vector<Picture>& pictures) {
  CheckedSource result{.name = name, .kind = "folder"};
  for (const Picture& picture : pictures) {
    result.listing.entries.push_back({.key = picture.key, .size = 100, .split = picture.split});
    result.images.push_back(
        {.hash = runtime::content_hash(std::string_view(picture.contents)), .fault = picture.fault});
  }
  return result;
}

std::vector<std::string> packed(const PackingPlan& plan) {
  std::vector<std::string> keys;
  for (const shards::ShardPlan& shard : plan.shards) {
    for (const shards::ShardRow& row : shard.rows) keys.push_back(shard.source_name + "/" + row.key);
  }
  return keys;
}

TEST(PackingPlan, DropsDuplicatesInsideAndAcrossSources) {
  const PackingPlan plan =
      plan_packing({source("a", {{"1", "x"}, {"2", "y"}, {"3", "x"}}), source("b", {{"1", "y"}, {"2", "z"}})}, {});
  EXPECT_THAT(packed(plan), testing::UnorderedElementsAre("a/1", "a/2", "b/2"));
  ASSERT_EQ(plan.duplicates.size(), 2U);
  EXPECT_EQ(plan.duplicates[1].reason, "equals the unlabelled picture '2' of 'a'");
  EXPECT_TRUE(plan.leaked.empty());
}

TEST(PackingPlan, KeepsTestPicturesAndDropsTheirCopiesEverywhere) {
  const PackingPlan plan =
      plan_packing({source("a", {{"1", "x"}}),
                    source("b", {{"t", "x", Split::kTest}, {"u", "x", Split::kTrain}, {"v", "y", Split::kTrain}})},
                   {});
  EXPECT_THAT(packed(plan), testing::UnorderedElementsAre("b/t", "b/v"));
  EXPECT_EQ(plan.leaked.size(), 2U);
  EXPECT_TRUE(plan.duplicates.empty());
}

TEST(PackingPlan, PrefersTrainingOverUnlabelledPictures) {
  const PackingPlan plan = plan_packing({source("a", {{"1", "x"}}), source("b", {{"u", "x", Split::kTrain}})}, {});
  EXPECT_THAT(packed(plan), testing::ElementsAre("b/u"));
  EXPECT_EQ(plan.duplicates.size(), 1U);
}

TEST(PackingPlan, QuarantinesFaultsEvenWhenTheirBytesEqual) {
  const PackingPlan plan = plan_packing({source("a", {{"1", "x", Split::kUnlabelled, "empty file"}, {"2", "x"}})}, {});
  EXPECT_THAT(packed(plan), testing::ElementsAre("a/2"));
  ASSERT_EQ(plan.quarantined.size(), 1U);
  EXPECT_EQ(plan.quarantined[0].reason, "empty file");
}

TEST(PackingPlan, CutsShardsByCountAndBytesAndNeverMixesSplits) {
  std::vector<Picture> pictures;
  pictures.reserve(26);
  std::vector<std::string> contents(25);
  for (size_t i = 0; i < contents.size(); ++i) contents[i] = "c" + std::to_string(i);
  for (const std::string& text : contents) pictures.push_back({text.c_str(), text.c_str(), Split::kTrain});
  pictures.push_back({"t", "t", Split::kTest});
  const PackingPlan by_count = plan_packing({source("a", pictures)}, {.samples = 10});
  ASSERT_EQ(by_count.shards.size(), 4U);
  EXPECT_EQ(by_count.shards[0].file, "a-test-00000.h5");
  EXPECT_EQ(by_count.shards[3].file, "a-train-00002.h5");
  EXPECT_EQ(by_count.shards[3].rows.size(), 5U);
  const PackingPlan by_bytes = plan_packing({source("a", pictures)}, {.bytes = 750});
  for (const shards::ShardPlan& shard : by_bytes.shards) EXPECT_LE(shard.rows.size(), 7U);
}

TEST(PackingPlan, DoesNotDependOnNames) {
  const auto order = [](const char* first, const char* second) {
    const PackingPlan plan = plan_packing({source("a", {{first, "x"}, {second, "y"}})}, {});
    return plan.shards[0].rows[0].hash;
  };
  EXPECT_EQ(order("1", "2"), order("9", "8"));
}

}  // namespace
}  // namespace cskd::stages

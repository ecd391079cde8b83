#include "stages/packing_plan.h"

#include <algorithm>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/stages/index_records.h"
#include "tests/temporary_folder.h"

namespace cskd::stages {
namespace {

using shards::Split;
using tests::MadePicture;

std::vector<config::Source> sources(const std::vector<std::string>& names) {
  std::vector<config::Source> result;
  for (const std::string& name : names) result.emplace_back().set_name(name);
  return result;
}

class PackingPlan : public testing::Test {
 protected:
  std::vector<ShardCut> cut(const std::vector<MadePicture>& pictures, const std::vector<Loss>& losses,
                            const CutRules& rules) {
    return cut_into_shards(tests::write_index(folder_.path() / "index", pictures), losses, sources({"a", "b"}), rules);
  }
  tests::TemporaryFolder folder_;
};

std::vector<MadePicture> many(int count, Split split, std::uint32_t source = 0) {
  std::vector<MadePicture> pictures;
  for (int i = 0; i < count; ++i) {
    const std::string name = std::to_string(source) + "/" + std::to_string(i);
    pictures.push_back({.key = name, .pixels = name, .split = split, .source = source});
  }
  return pictures;
}

TEST_F(PackingPlan, CutsByCountAndBytesAndNeverMixesSplitsOrSources) {
  std::vector<MadePicture> pictures = many(25, Split::kTrain);
  pictures.push_back({.key = "t", .pixels = "t", .split = Split::kTest});
  for (const MadePicture& picture : many(3, Split::kUnlabelled, 1)) pictures.push_back(picture);
  const std::vector<ShardCut> by_count = cut(pictures, {}, {.samples = 10});
  ASSERT_EQ(by_count.size(), 5U);
  EXPECT_EQ(by_count[0].file, "a-test-00000.h5");
  EXPECT_EQ(by_count[3].file, "a-train-00002.h5");
  EXPECT_EQ(by_count[1].samples, 9U);  // 9, 9 and 7: shards are of like size
  EXPECT_EQ(by_count[3].samples, 7U);
  EXPECT_EQ(by_count[4].file, "b-unlabelled-00000.h5");
  EXPECT_EQ(by_count[4].bytes, 300U);
  for (const ShardCut& shard : cut(pictures, {}, {.bytes = 750})) EXPECT_LE(shard.samples, 7U);
}

TEST_F(PackingPlan, EveryPictureThatStaysLiesInOneShard) {
  std::vector<MadePicture> pictures = many(100, Split::kTrain);
  pictures[4].faulty = true;
  pictures[0].packed = true;
  const std::vector<ShardCut> cuts =
      cut(pictures, {{7, 0, LossKind::kDuplicate}, {9, 1, LossKind::kPacked}}, {.samples = 13, .generation = 2});
  EXPECT_EQ(cuts[0].file, "a-train-g2-00000.h5");
  std::uint64_t held = 0;
  for (std::uint32_t number = 0; number < pictures.size(); ++number) {
    const IndexRecord record = tests::record_of(pictures[number]);
    const ShuffleKey key = shuffle_key(1, record.pixel_hash, record.key_hash);
    const auto holds = std::count_if(cuts.begin(), cuts.end(),
                                     [&](const ShardCut& shard) { return shard.first <= key && key <= shard.last; });
    EXPECT_LE(holds, 1);
    if (std::set<std::uint32_t>{0, 4, 7, 9}.contains(number)) continue;
    EXPECT_EQ(holds, 1) << number;
    ++held;
  }
  std::uint64_t samples = 0;
  for (const ShardCut& shard : cuts) samples += shard.samples;
  EXPECT_EQ(samples, held);
}

TEST_F(PackingPlan, OrderDependsOnTheSeedAndNotOnNames) {
  const auto key = [](std::uint64_t seed, const char* pixels) {
    return shuffle_key(seed, runtime::content_hash(std::string_view(pixels)), 0).key;
  };
  EXPECT_EQ(key(1, "x"), key(1, "x"));
  EXPECT_NE(key(1, "x"), key(2, "x"));
  EXPECT_NE(key(1, "x"), key(1, "y"));
}

TEST_F(PackingPlan, EqualTestPicturesFallIntoShardsOneByOne) {
  std::vector<MadePicture> pictures;
  for (int i = 0; i < 6; ++i) pictures.push_back({.key = std::to_string(i), .pixels = "same", .split = Split::kTest});
  const std::vector<ShardCut> cuts = cut(pictures, {}, {.samples = 2});
  ASSERT_EQ(cuts.size(), 3U);
  EXPECT_TRUE(cuts[0].last < cuts[1].first);
}

}  // namespace
}  // namespace cskd::stages

#include "packing/shard_plan.h"

#include <algorithm>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/packing/index_records.h"
#include "tests/support/temporary_folder.h"

namespace cskd::packing {
namespace {

using shards::Split;
using tests::MadePicture;

class PackingPlan : public testing::Test {
 protected:
  PackingOrder order(const std::vector<MadePicture>& pictures, const std::vector<Drop>& drops,
                     std::uint64_t memory = 1 << 20) {
    tests::write_index(folder_.path() / "index", pictures);
    runtime::RecordWriter<Drop> writer(folder_.path() / "drops");
    for (const Drop& drop : drops) writer.add(drop);
    writer.close();
    write_packing_order(SampleIndex({folder_.path() / "index"}), DropList(folder_.path() / "drops"), 1, memory,
                        folder_.path() / "order");
    return PackingOrder(folder_.path() / "order");
  }
  std::vector<ShardCut> cut(const std::vector<MadePicture>& pictures, const std::vector<Drop>& drops,
                            const CutRules& rules) {
    return cut_into_shards(order(pictures, drops), rules);
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
  EXPECT_EQ(by_count[0].split, Split::kTest);
  EXPECT_EQ(by_count[3].split, Split::kTrain);
  EXPECT_EQ(by_count[3].number, 2U);
  EXPECT_EQ(by_count[1].samples, 9U);  // 9, 9 and 7: shards are of like size
  EXPECT_EQ(by_count[3].samples, 7U);
  EXPECT_EQ(by_count[4].source, 1U);
  EXPECT_EQ(by_count[4].number, 0U);
  EXPECT_EQ(by_count[4].bytes, 300U);
  for (const ShardCut& shard : cut(pictures, {}, {.bytes = 750})) EXPECT_LE(shard.samples, 7U);
}

TEST_F(PackingPlan, EveryPictureThatStaysLiesInOneShard) {
  std::vector<MadePicture> pictures = many(100, Split::kTrain);
  pictures[4].faulty = true;
  pictures[0].packed = true;
  const std::vector<Drop> drops{{7, 0, DropKind::kDuplicate}, {9, 1, DropKind::kPacked}};
  std::set<std::uint64_t> numbers;
  for (const OrderEntry& picture : tests::records_of(order(pictures, drops))) {
    EXPECT_TRUE(numbers.insert(picture.number).second);
    EXPECT_EQ(picture.key.tie, tests::record_of(pictures[picture.number]).key_hash);
  }
  EXPECT_EQ(numbers.size(), 96U);
  for (const std::uint64_t number : {0, 4, 7, 9}) EXPECT_FALSE(numbers.contains(number));
  std::uint64_t next = 0;
  for (const ShardCut& shard : cut(pictures, drops, {.samples = 13})) {
    EXPECT_EQ(shard.first, next);
    next += shard.samples;
  }
  EXPECT_EQ(next, 96U);
}

TEST_F(PackingPlan, OrderIsTheSameWithLittleMemory) {
  std::vector<MadePicture> pictures = many(500, Split::kTrain);
  for (const MadePicture& picture : many(300, Split::kTest, 1)) pictures.push_back(picture);
  const auto numbers = [&](std::uint64_t memory) {
    std::vector<std::uint64_t> result;
    for (const OrderEntry& picture : tests::records_of(order(pictures, {}, memory))) result.push_back(picture.number);
    return result;
  };
  EXPECT_EQ(numbers(1 << 20), numbers(2000));
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
  EXPECT_EQ(cut(pictures, {}, {.samples = 2}).size(), 3U);
  std::set<ShuffleKey> keys;
  for (const OrderEntry& picture : tests::records_of(order(pictures, {}))) keys.insert(picture.key);
  EXPECT_EQ(keys.size(), 6U);
}

}  // namespace
}  // namespace cskd::packing

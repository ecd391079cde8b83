// That every kind of damage to a shard is found.
#include <fstream>
#include <limits>
#include <random>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "shards/image_shard/check.h"
#include "tests/support/random_corpus.h"

namespace cskd::shards {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

using ShardCheckTest = Corpus;

TEST_F(ShardCheckTest, AWholeShardHasNoFaults) {
  for (int shard = 0; shard < manifest_.shards_size(); ++shard) {
    for (const ShardCheck& result : {check(shard), check_alone(shard)}) {
      EXPECT_THAT(result.faults, IsEmpty());
      EXPECT_EQ(result.fault_count, 0U);
      EXPECT_EQ(result.pictures, manifest_.shards(shard).samples());
      EXPECT_EQ(result.bytes, std::filesystem::file_size(path(shard)));
    }
  }
}

TEST_F(ShardCheckTest, PicturesThatSpanBlocksOfReadingAreChecked) {
  std::mt19937 random(5);
  ShardPlan plan = random_plan(random, "large.h5", 0, Split::kUnlabelled, false, 5, pictures_, 9 << 20);
  add_shard(plan);
  ASSERT_GT(manifest_.shards(4).total_bytes(), 16U << 20);
  EXPECT_EQ(check(4).pictures, 5U);
  EXPECT_THAT(check(4).faults, IsEmpty());
  std::uint64_t begin = offsets(4).bytes();
  for (std::uint64_t row = 0; row < 5; ++row) {
    const std::uint64_t size = plan.rows[row].size;
    for (const std::uint64_t place : {begin, begin + size / 2, begin + size - 1}) {
      const std::string before = tests::read_file(path(4)).substr(place, 1);
      overwrite(4, place, std::string(1, static_cast<char>(before[0] ^ 0x10)));
      EXPECT_THAT(check(4).faults, ElementsAre(of_file("XXH3-128"), of_row(row, plan.rows[row].key, "CRC-32C")));
      EXPECT_THAT(check_alone(4).faults, ElementsAre(of_row(row, plan.rows[row].key, "CRC-32C")));
      overwrite(4, place, before);
    }
    begin += size;
  }
}

TEST_F(ShardCheckTest, AHashThatIsNotThePicturesIsFound) {
  overwrite_number(0, place(offsets(0).hash(), 16, 3), std::uint64_t{1});
  EXPECT_THAT(check_alone(0).faults, ElementsAre(of_row(3, plans_[0].rows[3].key, "/hash says 0100000000000000")));
}

TEST_F(ShardCheckTest, AMissingACutOffAndAnotherFileAreFound) {
  std::filesystem::copy_file(path(1), folder_ / "kept.h5");
  std::filesystem::remove(path(1));
  EXPECT_THAT(check(1).faults, ElementsAre(of_file("the file is missing")));
  std::filesystem::create_directory(path(1));
  EXPECT_THAT(check(1).faults, ElementsAre(of_file("not a regular file")));
  std::filesystem::remove(path(1));
  std::filesystem::copy_file(folder_ / "kept.h5", path(1));
  std::filesystem::resize_file(path(1), std::filesystem::file_size(path(1)) - 1);
  EXPECT_THAT(check(1).faults, ElementsAre(of_file("it was cut off or replaced")));
  // Every picture of it is whole, but it is not the file of the manifest.
  std::filesystem::remove(path(1));
  std::filesystem::copy_file(folder_ / "kept.h5", path(1));
  manifest_.mutable_shards(1)->set_file_hash(std::string(16, 'x'));
  manifest_.mutable_shards(1)->set_plan(std::string(16, 'y'));
  EXPECT_THAT(check(1).faults, ElementsAre(of_file("XXH3-128"), of_file("another plan")));
}

TEST_F(ShardCheckTest, AManifestThatSaysOtherThingsIsFound) {
  manifest_.mutable_shards(3)->mutable_offsets()->set_phash(offsets(3).phash() + 8);
  manifest_.mutable_sources(1)->set_name("renamed");
  EXPECT_THAT(check(3).faults, ElementsAre(of_file("its source is second, the manifest says renamed"),
                                           of_file("/phash has 200 bytes from byte")));
}

TEST_F(ShardCheckTest, OffsetsThatDoNotRiseAreFound) {
  overwrite_number(0, offsets(0).offset() + 8, std::uint64_t{1} << 60);
  overwrite_number(0, offsets(0).key_offset() + 8, std::uint64_t{0} - 1);
  EXPECT_THAT(check_alone(0).faults, ElementsAre(of_file("/key_offset"), of_file("/offset")));
  EXPECT_EQ(check_alone(0).pictures, 0U);
}

TEST_F(ShardCheckTest, ColumnsThatHoldWhatTheyMayNotAreFound) {
  overwrite_number(3, place(offsets(3).size(), 4, 1), std::uint16_t{0});
  overwrite_number(3, offsets(3).format() + 2, std::uint8_t{4});
  overwrite_number(3, offsets(3).orientation() + 3, std::uint8_t{9});
  overwrite_number(3, offsets(3).split() + 4, std::uint8_t{3});
  overwrite_number(3, place(offsets(3).source(), 4, 5), std::uint32_t{77});
  const auto key = [this](std::size_t row) { return plans_[3].rows[row].key; };
  const auto expected = ElementsAre(
      of_row(1, key(1), "/size is 0 x"), of_row(2, key(2), "/format is 4"), of_row(3, key(3), "/orientation is 9"),
      of_row(4, key(4), "/split is 3, its shard's is 1"), of_row(5, key(5), "/source is 77, its shard's is 1"));
  EXPECT_THAT(check_alone(3).faults, expected);
  EXPECT_EQ(check(3).fault_count, 6U);  // and the hash of the file
}

TEST_F(ShardCheckTest, AKeyThatComesTwiceIsFound) {
  const std::string& key = plans_[0].rows[2].key;
  ASSERT_EQ(key.size(), plans_[0].rows[9].key.size());
  overwrite(0, offsets(0).key_bytes() + 9 * key.size(), key);
  EXPECT_THAT(check_alone(0).faults, ElementsAre(of_row(9, key, "row 2 has the same key")));
}

TEST_F(ShardCheckTest, LabelsThatAreNoDistributionsAreFound) {
  const auto share = [this](std::uint64_t row, std::uint64_t bin) {
    return offsets(3).label_histogram() + 4 * (row * kCentres.size() + bin);
  };
  const auto stored = [this](std::size_t row) { return plans_[3].rows[row].label; };
  overwrite_number(3, share(4, 0), stored(4).histogram[0] + 0.001F);
  overwrite_number(3, share(5, 0), -0.25F);
  overwrite_number(3, share(6, 0), std::numeric_limits<float>::quiet_NaN());
  overwrite_number(3, place(offsets(3).label_mean(), 4, 8), stored(8).mean + 0.01F);
  overwrite_number(3, place(offsets(3).label_std(), 4, 9), -1.0F);
  overwrite_number(3, place(offsets(3).label_mean(), 4, 10), std::numeric_limits<float>::infinity());
  const auto key = [this](std::size_t row) { return plans_[3].rows[row].key; };
  EXPECT_THAT(check(3).faults,
              ElementsAre(of_file("XXH3-128"), of_row(4, key(4), "sums to 1.001"), of_row(5, key(5), "not a share"),
                          of_row(6, key(6), "not a share"), of_row(8, key(8), "that of its histogram"),
                          of_row(9, key(9), "/label/std -1"), of_row(10, key(10), "/label/mean is inf")));
  // A shard alone does not know the scores of its bins.
  EXPECT_EQ(check_alone(3).fault_count, 5U);
}

TEST_F(ShardCheckTest, SharesOfManyDecimalsAreDistributions) {
  // 1/3 + 1/3 + 1/3 in single precision, and a mean within the tolerance.
  const float third = 1.0F / 3;
  for (std::uint64_t bin = 0; bin < 5; ++bin) {
    overwrite_number(3, offsets(3).label_histogram() + 4 * bin, bin < 3 ? third : 0.0F);
  }
  overwrite_number(3, offsets(3).label_mean(), 2.00001F);
  EXPECT_THAT(check(3).faults, ElementsAre(of_file("XXH3-128")));
}

TEST_F(ShardCheckTest, ManyFaultsAreCounted) {
  overwrite(0, offsets(0).format(), std::string(40, '\x09'));
  const ShardCheck result = check(0);
  EXPECT_EQ(result.fault_count, 41U);
  ASSERT_THAT(result.faults, SizeIs(kMostFaultsListed));
  EXPECT_THAT(result.faults.front(), of_file("XXH3-128"));
  EXPECT_THAT(result.faults.back(), of_row(18, plans_[0].rows[18].key, "/format is 9"));
}

TEST_F(ShardCheckTest, EveryByteOfTheFileCounts) {
  const std::string whole = tests::read_file(path(2));
  std::mt19937 random(3);
  for (int round = 0; round < 200; ++round) {
    const std::size_t place = random() % whole.size();
    std::string damaged = whole;
    damaged[place] = static_cast<char>(damaged[place] ^ (1 << (random() % 8)));
    std::ofstream(path(2), std::ios::binary) << damaged;
    EXPECT_GE(check(2).fault_count, 1U) << "byte " << place;
  }
}

}  // namespace
}  // namespace cskd::shards

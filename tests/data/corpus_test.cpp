#include "data/corpus.h"

#include <numeric>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/error.h"
#include "shards/image_shard/format.h"
#include "shards/manifest.h"
#include "tests/support/temporary_folder.h"

namespace cskd::data {
namespace {

using shards::Manifest;

// Only what a manifest says: no file is opened before a sample is read.
void add_shard(Manifest& manifest, shards::Split split, std::uint64_t samples, std::vector<std::uint32_t> withdrawn) {
  Manifest::Shard& shard = *manifest.add_shards();
  shard.set_file(std::to_string(manifest.shards_size()) + ".h5");
  shard.set_samples(samples);
  shard.set_split(static_cast<std::uint32_t>(split));
  shard.set_file_hash(std::string(16, 'h'));
  shard.set_plan(std::string(16, 'p'));
  shard.set_file_size(1 << 20);
  for (const std::uint32_t row : withdrawn) shard.add_withdrawn(row);
}

class CorpusTest : public testing::Test {
 protected:
  CorpusTest() {
    manifest_.add_sources()->set_name("a");
    manifest_.set_leak_gate_passed(true);
  }
  Corpus corpus() const {
    shards::write_manifest(folder_.path(), manifest_);
    return Corpus(folder_.path());
  }
  cskd::tests::TemporaryFolder folder_;
  Manifest manifest_;
};

TEST_F(CorpusTest, WithdrawnRowsArePassedOver) {
  const std::vector<std::vector<std::uint32_t>> withdrawn{{0, 3, 4}, {}, {0, 1, 2}, {9}, {2, 5, 6, 8}};
  for (const auto& rows : withdrawn) add_shard(manifest_, shards::Split::kUnlabelled, 10, rows);
  add_shard(manifest_, shards::Split::kTest, 10, {});
  std::vector<SampleRef> expected;
  for (std::uint32_t shard = 0; shard < withdrawn.size(); ++shard) {
    const std::set<std::uint64_t> gone(withdrawn[shard].begin(), withdrawn[shard].end());
    for (std::uint64_t row = 0; row < 10; ++row) {
      if (!gone.contains(row)) expected.push_back({shard, row});
    }
  }
  const Corpus all = corpus();
  const SampleSet set = SampleSet::of_split(all, shards::Split::kUnlabelled);
  ASSERT_EQ(set.size(), expected.size());
  for (std::uint64_t i = 0; i < set.size(); ++i) EXPECT_EQ(set.at(i), expected[i]) << i;
}

// Shards of two sources, as they follow each other when the second one grew later.
class TwoSources : public CorpusTest {
 protected:
  TwoSources() {
    manifest_.mutable_sources(0)->set_weight(1);
    manifest_.add_sources()->set_name("second");
    manifest_.mutable_sources(1)->set_weight(2.5);
    add_shard(manifest_, shards::Split::kTrain, 100, {});
    add_shard(manifest_, shards::Split::kTrain, 40, {3, 5});
    add_shard(manifest_, shards::Split::kTrain, 60, {});
    add_shard(manifest_, shards::Split::kTrain, 2, {0, 1});
    manifest_.mutable_shards(1)->set_source(1);
  }
};

TEST_F(TwoSources, AreGroupsOfShardsWithTheirWeights) {
  const Corpus all = corpus();
  const std::vector<SampleGroup> groups = SampleSet::of_split(all, shards::Split::kTrain).groups();
  ASSERT_EQ(groups.size(), 2U);
  EXPECT_EQ(groups[0].weight, 1);
  EXPECT_THAT(groups[0].blocks, testing::ElementsAre(100, 60));
  EXPECT_EQ(groups[1].weight, 2.5);
  EXPECT_THAT(groups[1].blocks, testing::ElementsAre(38));
}

TEST_F(TwoSources, GiveTheSameShareOfThoseChosen) {
  const Corpus all = corpus();
  const SampleSet whole = SampleSet::of_split(all, shards::Split::kTrain);
  std::set<std::pair<std::uint32_t, std::uint64_t>> seen;
  for (const bool rest : {false, true}) {
    const SampleSet part = whole.choose(1, 100, 50, rest);
    ASSERT_EQ(part.size(), rest ? 148U : 50U);
    std::uint64_t of_second = 0;
    for (std::uint64_t i = 0; i < part.size(); ++i) {
      const SampleRef sample = part.at(i);
      EXPECT_TRUE(seen.emplace(sample.shard, sample.row).second);
      of_second += sample.shard == 1 ? 1 : 0;
    }
    EXPECT_NEAR(static_cast<double>(of_second), static_cast<double>(part.size()) * 38 / 198, 1);
    std::uint64_t in_groups = 0;
    for (const SampleGroup& group : part.groups()) in_groups += group.blocks.front();
    EXPECT_EQ(in_groups, part.size());
  }
  EXPECT_EQ(seen.size(), 198U);
}

TEST_F(TwoSources, AreCutIntoSlicesThatTogetherAreTheSet) {
  const Corpus all = corpus();
  const SampleSet split = SampleSet::of_split(all, shards::Split::kTrain);
  for (const SampleSet& whole : {split, split.choose(1, 100, 150, true), split.choose(1, 100, 50, false)}) {
    for (const std::uint64_t each : {1U, 7U, 100U, 198U}) {
      std::uint64_t seen = 0;
      for (std::uint64_t first = 0; first < whole.size(); first += each) {
        const SampleSet slice = whole.slice(first, std::min(each, whole.size() - first));
        std::uint64_t in_groups = 0;
        for (const SampleGroup& group : slice.groups())
          in_groups += std::accumulate(group.blocks.begin(), group.blocks.end(), std::uint64_t{0});
        EXPECT_EQ(in_groups, slice.size());
        for (std::uint64_t i = 0; i < slice.size(); ++i, ++seen) EXPECT_EQ(slice.at(i), whole.at(first + i));
      }
      EXPECT_EQ(seen, whole.size());
    }
  }
}

TEST_F(CorpusTest, RowsThatDoNotRiseAreRefused) {
  for (const std::vector<std::uint32_t>& rows : {std::vector<std::uint32_t>{3, 3}, {4, 2}, {10}}) {
    manifest_.clear_shards();
    add_shard(manifest_, shards::Split::kTrain, 10, rows);
    EXPECT_THROW(corpus(), runtime::DataError);
  }
}

TEST_F(CorpusTest, ACorpusThatNeverPassedTheGateIsRefused) {
  add_shard(manifest_, shards::Split::kTrain, 10, {});
  EXPECT_NO_THROW(corpus());
  manifest_.set_leak_gate_passed(false);
  EXPECT_THAT([&] { corpus(); }, testing::ThrowsMessage<runtime::DataError>(
                                     testing::HasSubstr("was never compared with the test pictures")));
}

}  // namespace
}  // namespace cskd::data

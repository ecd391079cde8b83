#include "data/corpus.h"

#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/error.h"
#include "shards/image_shard_format.h"
#include "shards/manifest.h"
#include "tests/temporary_folder.h"

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
  tests::TemporaryFolder folder_;
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

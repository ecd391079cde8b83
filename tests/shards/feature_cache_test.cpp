#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "shards/feature_cache/check.h"
#include "shards/feature_cache/reader.h"
#include "shards/feature_cache/writer.h"
#include "tests/support/temporary_folder.h"

namespace cskd::shards {
namespace {

class FeatureCache : public testing::Test {
 protected:
  FeatureCache() {
    binding_ = {.encoder = "ViT-test",
                .image_size = 32,
                .preprocessing = "p",
                .views = "v",
                .decoder_version = 1,
                .view_count = 2,
                .width = 3};
    for (std::uint16_t row = 0; row < 5; ++row) {
      rows_.push_back({.image_hash = 100U + row,
                       .views = {{1, 2, 30, 40, false}, {5, 6, 70, 80, true}},
                       .pooled = {row, 1, 2, static_cast<std::uint16_t>(10 + row), 4, 5}});
      hashes_.push_back(100U + row);
    }
    write_feature_cache(path_, binding_, rows_);
  }

  tests::TemporaryFolder folder_;
  std::filesystem::path path_ = folder_.path() / "cache.h5";
  CacheBinding binding_;
  std::vector<CacheRow> rows_;
  std::vector<std::uint64_t> hashes_;
};

TEST_F(FeatureCache, GivesBackWhatWasWritten) {
  const FeatureCacheReader reader(path_, binding_, 5);
  EXPECT_EQ(reader.image_hash(3), 103U);
  EXPECT_EQ(reader.pooled(3, 0), (std::vector<std::uint16_t>{3, 1, 2}));
  EXPECT_EQ(reader.pooled(3, 1), (std::vector<std::uint16_t>{13, 4, 5}));
  EXPECT_EQ(reader.view(3, 1).width, 70);
  EXPECT_TRUE(reader.view(3, 1).flip);
  EXPECT_TRUE(is_valid_feature_cache(path_, binding_, hashes_));
  EXPECT_FALSE(std::filesystem::exists(folder_.path() / "cache.h5.tmp"));
}

TEST_F(FeatureCache, RefusesAnyOtherBinding) {
  const auto refused = [&](auto change, const char* name) {
    CacheBinding other = binding_;
    change(other);
    try {
      const FeatureCacheReader reader(path_, other, 5);
      ADD_FAILURE() << name;
    } catch (const BindingError& error) {
      EXPECT_THAT(error.what(), testing::HasSubstr(std::string("another ") + name));
    }
  };
  refused([](CacheBinding& b) { b.weights.bytes[0] = 1; }, "weights");
  refused([](CacheBinding& b) { b.encoder = "ViT-other"; }, "encoder");
  refused([](CacheBinding& b) { b.image_size = 64; }, "image_size");
  refused([](CacheBinding& b) { b.preprocessing = "q"; }, "preprocessing");
  refused([](CacheBinding& b) { b.views = "w"; }, "views");
  refused([](CacheBinding& b) { b.decoder_version = 2; }, "decoder_version");
}

TEST_F(FeatureCache, FewerViewsThanItHoldsMayBeAskedForButNotMore) {
  binding_.view_count = 1;
  const FeatureCacheReader reader(path_, binding_, 5);
  EXPECT_EQ(reader.views(), 2U);
  EXPECT_EQ(reader.pooled(3, 0), (std::vector<std::uint16_t>{3, 1, 2}));
  EXPECT_TRUE(is_valid_feature_cache(path_, binding_, hashes_));
  const std::vector<CacheRow> rows = read_feature_cache(path_, binding_, hashes_);
  ASSERT_EQ(rows.size(), 5U);
  EXPECT_EQ(rows[3].pooled, (std::vector<std::uint16_t>{3, 1, 2}));

  binding_.view_count = 3;
  EXPECT_FALSE(is_valid_feature_cache(path_, binding_, hashes_));
  EXPECT_THROW(FeatureCacheReader(path_, binding_, 5), runtime::DataError);
}

TEST_F(FeatureCache, GivesItsRowsToAddViewsTo) {
  rows_[2].has_features = false;
  rows_[2].pooled.assign(6, 0);
  write_feature_cache(path_, binding_, rows_);
  binding_.view_count = 3;
  const std::vector<CacheRow> rows = read_feature_cache(path_, binding_, hashes_);
  ASSERT_EQ(rows.size(), 5U);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    EXPECT_EQ(rows[i].has_features, i != 2);
    EXPECT_EQ(rows[i].image_hash, hashes_[i]);
    EXPECT_EQ(rows[i].pooled, rows_[i].pooled);
    ASSERT_EQ(rows[i].views.size(), 2U);
    EXPECT_EQ(rows[i].views[1].width, 70);
  }
  std::filesystem::resize_file(path_, std::filesystem::file_size(path_) / 2);
  EXPECT_TRUE(read_feature_cache(path_, binding_, hashes_).empty());
}

TEST_F(FeatureCache, NoticesEveryFlippedFeatureByte) {
  std::ifstream in(path_, std::ios::binary);
  const std::string whole((std::istreambuf_iterator<char>(in)), {});
  // The features of row 2 are the only place with these bytes.
  const std::string features("\x02\0\x01\0\x02\0\x0c\0\x04\0\x05\0", 12);
  const size_t place = whole.find(features);
  ASSERT_NE(place, std::string::npos);
  for (size_t i = 0; i < features.size(); ++i) {
    std::string damaged = whole;
    damaged[place + i] = static_cast<char>(damaged[place + i] ^ 1);
    std::ofstream(path_, std::ios::binary) << damaged;
    const FeatureCacheReader reader(path_, binding_, 5);
    const std::uint64_t view = i < features.size() / 2 ? 0 : 1;
    EXPECT_THROW(reader.pooled(2, view), runtime::DataError);
    EXPECT_NO_THROW(reader.pooled(2, 1 - view));
    EXPECT_NO_THROW(reader.pooled(1, view));
    EXPECT_FALSE(is_valid_feature_cache(path_, binding_, hashes_));
  }
}

TEST_F(FeatureCache, NoticesAFileThatIsCutOff) {
  std::filesystem::resize_file(path_, std::filesystem::file_size(path_) / 2);
  EXPECT_FALSE(is_valid_feature_cache(path_, binding_, hashes_));
  EXPECT_THROW(FeatureCacheReader(path_, binding_, 5), runtime::DataError);
}

TEST_F(FeatureCache, NoticesOtherPictures) {
  hashes_[4] = 999;
  EXPECT_FALSE(is_valid_feature_cache(path_, binding_, hashes_));
  EXPECT_THROW(FeatureCacheReader(path_, binding_, 6), runtime::DataError);
}

}  // namespace
}  // namespace cskd::shards

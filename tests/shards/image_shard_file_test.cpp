// What an image shard says of itself, and that what only looks like one is refused.
#include <fstream>
#include <map>
#include <random>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/error.h"
#include "shards/hdf5_file.h"
#include "shards/image_shard/file.h"
#include "shards/image_shard/format.h"
#include "tests/support/random_corpus.h"

namespace cskd::shards {
namespace {

using testing::AllOf;
using testing::HasSubstr;

using ShardEntryTest = Corpus;

TEST_F(ShardEntryTest, IsThatOfTheManifestButForWhatOnlyAManifestKnows) {
  for (int shard = 0; shard < manifest_.shards_size(); ++shard) {
    const ShardEntry entry = read_shard_entry(path(shard));
    Manifest::Shard expected = manifest_.shards(shard);
    expected.clear_file_hash();
    expected.clear_withdrawn();
    EXPECT_EQ(entry.shard.SerializeAsString(), expected.SerializeAsString());
    EXPECT_EQ(entry.source_name, manifest_.sources(static_cast<int>(expected.source())).name());
  }
}

TEST_F(ShardEntryTest, OtherFilesAreRefusedWithTheirReason) {
  const auto refused = [](const std::filesystem::path& file, const std::string& what) {
    try {
      read_shard_entry(file);
      ADD_FAILURE() << file << " was read";
    } catch (const runtime::DataError& error) {
      EXPECT_THAT(error.what(), AllOf(HasSubstr(file.native()), HasSubstr(what)));
    }
  };
  std::ofstream(folder_ / "text.h5") << "no HDF5 at all";
  refused(folder_ / "text.h5", "does not open as HDF5");
  {
    Hdf5Writer file(folder_ / "cache.h5");
    file.set_attribute("format", "cskd-feature-cache");
    file.close();
  }
  refused(folder_ / "cache.h5", "'cskd-feature-cache'");
  {
    Hdf5Writer file(folder_ / "old.h5");
    file.set_attribute("format", kImageShardFormat);
    file.set_attribute("version", std::uint64_t{1});
    file.close();
  }
  refused(folder_ / "old.h5", "version 1");
  std::filesystem::resize_file(path(0), std::filesystem::file_size(path(0)) / 2);
  refused(path(0), "cut off");
}

// A shard of two labelled samples, one of whose datasets has another shape.
std::filesystem::path misshapen(const std::filesystem::path& path, const std::string& dataset,
                                const std::vector<std::uint64_t>& shape) {
  using enum ElementType;
  std::map<std::string, std::pair<ElementType, std::vector<std::uint64_t>>> datasets{
      {"bytes", {kU8, {10}}},
      {"offset", {kU64, {3}}},
      {"hash", {kU8, {2, 16}}},
      {"crc32c", {kU32, {2}}},
      {"pixel_hash", {kU8, {2, 16}}},
      {"phash", {kU64, {2}}},
      {"thumbnail", {kU8, {2, 8, 8, 3}}},
      {"size", {kU16, {2, 2}}},
      {"format", {kU8, {2}}},
      {"orientation", {kU8, {2}}},
      {"split", {kU8, {2}}},
      {"source", {kU32, {2}}},
      {"key_bytes", {kU8, {4}}},
      {"key_offset", {kU64, {3}}},
      {"label/mean", {kF32, {2}}},
      {"label/std", {kF32, {2}}},
      {"label/histogram", {kF32, {2, 5}}}};
  if (!dataset.empty()) datasets.at(dataset).second = shape;
  Hdf5Writer file(path);
  file.set_attribute("format", kImageShardFormat);
  file.set_attribute("version", std::uint64_t{kImageShardVersion});
  file.set_attribute("source", "s");
  file.set_attribute("split", "train");
  file.set_attribute("plan", std::string(32, 'a'));
  for (const auto& [name, stored] : datasets) {
    if (!stored.second.empty()) file.create(name, stored.first, stored.second);
  }
  file.close();
  return path;
}

TEST_F(ShardEntryTest, ShapesThatDisagreeAreRefused) {
  EXPECT_NO_THROW(read_shard_entry(misshapen(folder_ / "fine.h5", "", {})));
  const std::vector<std::pair<std::string, std::vector<std::uint64_t>>> wrong{{"offset", {1}},
                                                                              {"offset", {4}},
                                                                              {"offset", {3, 1}},
                                                                              {"offset", {20'000}},
                                                                              {"hash", {2, 15}},
                                                                              {"crc32c", {3}},
                                                                              {"pixel_hash", {1, 16}},
                                                                              {"phash", {1}},
                                                                              {"thumbnail", {2, 8, 8}},
                                                                              {"size", {2, 1}},
                                                                              {"size", {2}},
                                                                              {"format", {1}},
                                                                              {"orientation", {3}},
                                                                              {"split", {1}},
                                                                              {"source", {5}},
                                                                              {"key_bytes", {40'000}},
                                                                              {"key_offset", {2}},
                                                                              {"label/mean", {1}},
                                                                              {"label/std", {3}},
                                                                              {"label/histogram", {3, 5}},
                                                                              {"label/histogram", {10}},
                                                                              {"label/histogram", {2, 2000}},
                                                                              {"bytes", {5, 2}}};
  for (const auto& [dataset, shape] : wrong) {
    SCOPED_TRACE(dataset + testing::PrintToString(shape));
    EXPECT_THROW(read_shard_entry(misshapen(folder_ / "wrong.h5", dataset, shape)), runtime::DataError);
    if (dataset == "offset" || dataset == "label/histogram") continue;
    try {
      read_shard_entry(misshapen(folder_ / "missing.h5", dataset, {}));
      ADD_FAILURE() << "a shard without /" << dataset << " was read";
    } catch (const runtime::DataError& error) {
      EXPECT_THAT(error.what(), HasSubstr("no contiguous dataset /" + dataset));
    }
  }
}

// Damaged bytes may be refused or go unnoticed here (their checksums come later), but nothing else may happen.
TEST_F(ShardEntryTest, RandomDamageIsSurvived) {
  std::mt19937 random(11);
  const std::string whole = tests::read_file(path(2));
  for (int round = 0; round < 400; ++round) {
    std::string damaged = whole;
    for (int flips = 0; flips < 3; ++flips) {
      // Half of them in what HDF5 says of the file, which lies at its beginning and its end.
      const std::size_t place = random() % damaged.size();
      damaged[round % 2 == 0 ? place : place % 1200] = static_cast<char>(random());
    }
    std::ofstream(path(2), std::ios::binary) << damaged;
    try {
      check_alone(2);
    } catch (const runtime::Error&) {
    }
    EXPECT_GE(check(2).fault_count, damaged == whole ? 0U : 1U);
  }
}

}  // namespace
}  // namespace cskd::shards

// A corpus of shards whose pictures are random bytes, and what is found wrong with it.
#pragma once

#include <algorithm>
#include <cstring>
#include <fstream>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/content_hash.h"
#include "runtime/crc32c.h"
#include "shards/image_shard/check.h"
#include "shards/image_shard/file.h"
#include "shards/image_shard/writer.h"
#include "tests/support/temporary_folder.h"

namespace cskd::shards {

inline const std::vector<float> kCentres{1, 2, 3, 4, 5};

using Pictures = std::vector<std::vector<std::byte>>;

// A plan of rows whose "pictures" are random bytes; a shard never looks into them.
inline ShardPlan random_plan(std::mt19937& random, const std::string& file, std::uint32_t source, Split split,
                             bool labelled, std::size_t rows, Pictures& pictures, std::size_t most_bytes = 300) {
  ShardPlan plan{.file = file,
                 .source = source,
                 .split = split,
                 .bins = labelled ? static_cast<std::uint32_t>(kCentres.size()) : 0,
                 .source_name = source == 0 ? "first" : "second"};
  const auto draw = [&](std::size_t low, std::size_t high) {
    return std::uniform_int_distribution<std::size_t>(low, high)(random);
  };
  pictures.clear();
  for (std::size_t i = 0; i < rows; ++i) {
    std::vector<std::byte> bytes(draw(1, most_bytes));
    for (std::byte& byte : bytes) byte = static_cast<std::byte>(random());
    ShardRow row{.key = file + "/" + std::to_string(i) + ".jpg",
                 .size = bytes.size(),
                 .hash = runtime::content_hash(bytes),
                 .phash = random(),
                 .width = static_cast<std::uint16_t>(draw(1, 65'535)),
                 .height = static_cast<std::uint16_t>(draw(1, 400)),
                 .format = static_cast<std::uint8_t>(draw(1, 3)),
                 .orientation = static_cast<std::uint8_t>(draw(1, 8))};
    if (labelled) {
      std::vector<double> votes;
      for (std::size_t bin = 0; bin < kCentres.size(); ++bin) votes.push_back(static_cast<double>(draw(0, 9)));
      votes[i % votes.size()] += 1;
      row.label = label_from_counts(votes, kCentres);
    }
    plan.rows.push_back(row);
    pictures.push_back(std::move(bytes));
  }
  return plan;
}

// Four shards of two sources, the second with labels and withdrawn rows, in a folder of their own.
class Corpus : public testing::Test {
 protected:
  Corpus() {
    std::mt19937 random(7);
    manifest_.add_sources()->set_name("first");
    manifest_.add_sources()->set_name("second");
    manifest_.mutable_sources(1)->mutable_bin_centres()->Assign(kCentres.begin(), kCentres.end());
    add_shard(random_plan(random, "first-unlabelled-00000.h5", 0, Split::kUnlabelled, false, 40, pictures_));
    add_shard(random_plan(random, "first-unlabelled-00001.h5", 0, Split::kUnlabelled, false, 31, pictures_));
    add_shard(random_plan(random, "second-test-00000.h5", 1, Split::kTest, true, 8, pictures_));
    add_shard(random_plan(random, "second-train-00000.h5", 1, Split::kTrain, true, 25, pictures_));
    for (const std::uint32_t row : {0U, 7U, 24U}) manifest_.mutable_shards(3)->add_withdrawn(row);
  }

  void add_shard(ShardPlan plan) {
    *manifest_.add_shards() =
        write_image_shard(folder_.path(), plan, [this](std::size_t row, std::span<std::byte> target) {
          std::copy(pictures_[row].begin(), pictures_[row].end(), target.begin());
        });
    plans_.push_back(std::move(plan));
  }

  std::filesystem::path path(int shard) const { return folder_.path() / manifest_.shards(shard).file(); }

  ShardCheck check(int shard) const {
    const Manifest::Shard& entry = manifest_.shards(shard);
    return check_shard(path(shard), entry, manifest_.sources(static_cast<int>(entry.source())));
  }

  ShardCheck check_alone(int shard) const {
    const Manifest lone = lone_manifest(path(shard));
    return check_shard(path(shard), lone.shards(0), lone.sources(0));
  }

  // Replaces bytes of a file.
  void overwrite(int shard, std::uint64_t offset, const std::string& bytes) const {
    std::fstream file(path(shard), std::ios::binary | std::ios::in | std::ios::out);
    file.seekp(static_cast<std::streamoff>(offset));
    file << bytes;
    ASSERT_TRUE(file.flush());
  }
  template <typename Number>
  void overwrite_number(int shard, std::uint64_t offset, Number number) const {
    overwrite(shard, offset, std::string(reinterpret_cast<const char*>(&number), sizeof(number)));
  }

  // Where element `row` of a dataset lies whose elements have `size` bytes.
  static std::uint64_t place(std::uint64_t dataset, std::uint64_t size, std::uint64_t row) {
    return dataset + size * row;
  }

  const Manifest::Offsets& offsets(int shard) const { return manifest_.shards(shard).offsets(); }

  tests::TemporaryFolder folder_;
  Manifest manifest_;
  std::vector<ShardPlan> plans_;
  Pictures pictures_;
};

// Of the file and of no row.
inline auto of_file(const std::string& what) {
  return testing::AllOf(testing::Field("row", &ShardFault::row, std::nullopt),
                        testing::Field("what", &ShardFault::what, testing::HasSubstr(what)));
}
inline auto of_row(std::uint64_t row, const std::string& key, const std::string& what) {
  return testing::AllOf(testing::Field("row", &ShardFault::row, testing::Optional(row)),
                        testing::Field("key", &ShardFault::key, key),
                        testing::Field("what", &ShardFault::what, testing::HasSubstr(what)));
}

}  // namespace cskd::shards

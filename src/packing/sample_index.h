// One record of fixed size for every picture that packing decides about, in a file: what deduplication compares.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <functional>
#include <string_view>
#include <type_traits>
#include <vector>

#include "runtime/content_hash.h"
#include "runtime/record_file.h"
#include "shards/sample.h"

namespace cskd::packing {

struct IndexRecord {
  runtime::ContentHash pixel_hash;
  std::uint64_t phash = 0;
  std::uint64_t key_hash = 0;     // of source name and key
  std::uint64_t stored_size = 0;  // bytes
  // Where the file of its chunk tells the rest (packing/survey.h); nothing of a packed row.
  std::uint64_t place = 0;
  std::uint32_t place_size = 0;
  std::uint32_t source = 0;
  shards::Split split = shards::Split::kUnlabelled;
  std::uint8_t packed = 0;  // 1: a row of a shard that exists
  std::uint8_t faulty = 0;
  std::array<std::uint8_t, 5> unused{};
  shards::Thumbnail thumbnail{};
};
static_assert(std::is_trivially_copyable_v<IndexRecord> && sizeof(IndexRecord) == 256);

std::uint64_t key_hash(std::string_view source_name, std::string_view key);

// The records of one or more files: rows of existing shards first, then the pictures of the survey, each in their
// order.
class SampleIndex {
 public:
  // Throws Error.
  explicit SampleIndex(const std::vector<std::filesystem::path>& files);

  std::uint64_t size() const noexcept { return firsts_.back(); }
  // REQUIRES: number < size()
  IndexRecord record(std::uint64_t number) const;
  shards::Thumbnail thumbnail(std::uint64_t number) const;
  // Calls take(number of the record, record) for all, in order.
  void for_each(const std::function<void(std::uint64_t, const IndexRecord&)>& take) const;

 private:
  struct Place {
    const runtime::RecordFile<IndexRecord>* file;
    std::uint64_t number;
  };
  Place place_of(std::uint64_t number) const;

  std::deque<runtime::RecordFile<IndexRecord>> files_;
  std::vector<std::uint64_t> firsts_{0};  // number of each file's first record, and the number of all
};

}  // namespace cskd::packing

// One record of fixed size for every picture that packing decides about, in a file: what deduplication compares.
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <span>
#include <type_traits>

#include "runtime/content_hash.h"
#include "runtime/input_file.h"
#include "shards/sample.h"

namespace cskd::stages {

struct IndexRecord {
  runtime::ContentHash pixel_hash;
  runtime::ContentHash hash;  // of the stored bytes
  std::uint64_t phash = 0;
  std::uint64_t key_hash = 0;     // of source name and key
  std::uint64_t stored_size = 0;  // bytes
  std::uint32_t source = 0;
  shards::Split split = shards::Split::kUnlabelled;
  std::uint8_t packed = 0;  // 1: a row of a shard that exists
  std::uint8_t faulty = 0;
  std::uint8_t unused = 0;
  shards::Thumbnail thumbnail{};
};
static_assert(std::is_trivially_copyable_v<IndexRecord> && sizeof(IndexRecord) == 256);

std::uint64_t key_hash(std::string_view source_name, std::string_view key);

// Rows of existing shards first, then the pictures of the survey, each in their order. Not durable: it lies in the
// work folder and is made again after a crash.
class SampleIndexWriter {
 public:
  explicit SampleIndexWriter(std::filesystem::path path);  // throws Error
  void add(const IndexRecord& record);
  void close();  // throws Error when the disk is full

 private:
  std::filesystem::path path_;
  std::ofstream file_;
};

class SampleIndex {
 public:
  explicit SampleIndex(const std::filesystem::path& path) : file_(path) {}

  std::uint64_t size() const noexcept { return file_.size() / sizeof(IndexRecord); }
  shards::Thumbnail thumbnail(std::uint64_t number) const;
  // Calls take(number of the record, record) for all, in order.
  void for_each(const std::function<void(std::uint64_t, const IndexRecord&)>& take) const;

 private:
  runtime::InputFile file_;
};

}  // namespace cskd::stages

// The reader of an image shard: its samples, with pread, without HDF5.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/content_hash.h"
#include "shards/copied_file.h"
#include "shards/manifest.pb.h"
#include "shards/sample.h"

namespace cskd::shards {

// What deduplication compares of a row.
struct ShardLook {
  runtime::ContentHash pixel_hash;
  std::uint64_t phash = 0;
  Thumbnail thumbnail{};
};

class ImageShardReader {
 public:
  // Opens the file (or its copy: then pictures that are damaged there are read from the file) and reads its small
  // datasets; `shard` is its (checked) entry of the manifest, which knows its source by the name `source`. Throws Error
  // when it cannot be opened, DataError when its size differs from the entry's, its offsets make no sense, or it holds
  // other samples than the manifest lists.
  ImageShardReader(FilePlace place, const Manifest::Shard& shard, std::string_view source);

  std::uint64_t samples() const noexcept { return crc32c_.size(); }
  std::uint64_t bytes(std::uint64_t row) const { return offset_[row + 1] - offset_[row]; }  // of the encoded picture
  const std::filesystem::path& path() const noexcept { return file_.path(); }
  bool is_copy() const noexcept { return file_.is_copy(); }

  // The encoded picture of a row; its CRC is checked. Any thread. Throws DataError that names file, row and key.
  std::vector<std::byte> read(std::uint64_t row) const;
  // The same into `target` of bytes(row) bytes.
  void read(std::uint64_t row, std::span<std::byte> target) const;
  // read() of this row will come soon: the system may begin to fetch it.
  void will_read(std::uint64_t row) const noexcept;

  int width(std::uint64_t row) const { return size_[2 * row]; }  // after orientation
  int height(std::uint64_t row) const { return size_[2 * row + 1]; }
  runtime::ContentHash hash(std::uint64_t row) const;
  std::string key(std::uint64_t row) const;  // read from the file at each call; throws as read()
  // "<file> row <row> ('<key>')", without the key where it cannot be read.
  std::string name(std::uint64_t row) const;
  std::vector<ShardLook> looks() const;  // of all rows; read from the file at each call
  bool has_labels() const noexcept { return bins_ > 0; }
  std::span<const float> histogram(std::uint64_t row) const;  // of the label. REQUIRES: has_labels()

 private:
  CopiedFile file_;
  Manifest::Offsets offsets_;
  std::uint64_t bins_ = 0;
  std::uint64_t key_bytes_ = 0;
  std::vector<std::uint64_t> offset_;
  std::vector<std::uint32_t> crc32c_;
  std::vector<std::uint16_t> size_;
  std::vector<std::uint8_t> hash_;
  std::vector<float> histogram_;
};

}  // namespace cskd::shards

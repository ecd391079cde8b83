// Features of a frozen teacher for every sample of an image shard, in stored views: one HDF5 file for each shard,
// teacher and view specification. Format: shards/FORMAT.md.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "runtime/content_hash.h"
#include "runtime/error.h"
#include "shards/copied_file.h"

namespace cskd::shards {

constexpr std::uint32_t kFeatureCacheVersion = 1;
constexpr const char* kFeatureCacheFormat = "cskd-feature-cache";

// What features were computed with. A cache of another binding is refused.
struct CacheBinding {
  std::string encoder;           // "ViT-B-32"
  runtime::ContentHash weights;  // of the teacher's parameters
  std::uint64_t image_size = 0;  // pixels
  std::string preprocessing;     // mean, stddev, resize filter, as text
  std::string views;             // how views are drawn, seed included, as text
  std::uint64_t decoder_version = 0;
  std::uint64_t view_count = 0;  // V
  std::uint64_t width = 0;       // D
};

// A whole cache that another teacher, preprocessing or view specification made.
class BindingError : public runtime::DataError {
 public:
  using DataError::DataError;
};

// A stored view of a sample: source pixels after orientation, then mirrored.
struct StoredView {
  std::int32_t x = 0;
  std::int32_t y = 0;
  std::int32_t width = 0;
  std::int32_t height = 0;
  bool flip = false;
};

// What is stored for one sample.
struct CacheRow {
  bool has_features = true;           // false: the picture could not be read
  std::uint64_t image_hash = 0;       // ContentHash::prefix() of the encoded picture
  std::vector<StoredView> views;      // [V]
  std::vector<std::uint16_t> pooled;  // [V * D], bits of float16
};

// Writes `path` atomically (Note [Atomic files]). Throws Error.
void write_feature_cache(const std::filesystem::path& path, const CacheBinding& binding,
                         const std::vector<CacheRow>& rows);

// Reads rows with pread.
class FeatureCacheReader {
 public:
  // Of the file or its copy, as ImageShardReader. Throws Error when it cannot be opened; DataError when it is damaged,
  // holds another number of samples than `samples`; BindingError when it was made with another binding: the message
  // names what differs.
  FeatureCacheReader(FilePlace place, const CacheBinding& binding, std::uint64_t samples);

  bool is_copy() const noexcept { return file_.is_copy(); }
  std::uint64_t samples() const noexcept { return image_hash_.size(); }
  std::uint64_t image_hash(std::uint64_t row) const { return image_hash_[row]; }
  StoredView view(std::uint64_t row, std::uint64_t view) const;
  bool has_features(std::uint64_t row) const { return status_[row] == 1; }
  // float16 bits [D] of one view; the row's CRC is checked when any of it is read. Any thread. Throws DataError that
  // names file and row, also when the row has no features.
  std::vector<std::uint16_t> pooled(std::uint64_t row, std::uint64_t view) const;

 private:
  CopiedFile file_;
  std::uint64_t views_ = 0;
  std::uint64_t width_ = 0;
  std::uint64_t pooled_offset_ = 0;
  std::vector<std::uint64_t> image_hash_;
  std::vector<std::uint32_t> crc32c_;
  std::vector<std::int32_t> crop_;
  std::vector<std::uint8_t> flip_;
  std::vector<std::uint8_t> status_;
};

// Whether `path` is a whole cache for the samples with these image hashes, every row that has features undamaged.
// Throws BindingError.
bool is_valid_feature_cache(const std::filesystem::path& path, const CacheBinding& binding,
                            const std::vector<std::uint64_t>& image_hashes);

}  // namespace cskd::shards

// Rows of a feature cache.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "shards/copied_file.h"
#include "shards/feature_cache/format.h"

namespace cskd::shards {

// Reads rows with pread.
class FeatureCacheReader {
 public:
  // Of the file or its copy, as ImageShardReader. Throws Error when it cannot be opened; DataError when it is damaged,
  // holds another number of samples than `samples`, or fewer views than the binding needs; BindingError when it was
  // made with another binding: the message names what differs.
  FeatureCacheReader(FilePlace place, const CacheBinding& binding, std::uint64_t samples);

  bool is_copy() const noexcept { return file_.is_copy(); }
  std::uint64_t samples() const noexcept { return image_hash_.size(); }
  std::uint64_t views() const noexcept { return views_; }  // stored ones
  std::uint64_t image_hash(std::uint64_t row) const { return image_hash_[row]; }
  StoredView view(std::uint64_t row, std::uint64_t view) const;
  bool has_features(std::uint64_t row) const { return status_[row] == 1; }
  // float16 bits [D] of one view, whose CRC is checked. Any thread. Throws DataError that names file, row and view,
  // also when the row has no features.
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

}  // namespace cskd::shards

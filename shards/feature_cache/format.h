// Features of a frozen teacher for every sample of an image shard, in stored views: one HDF5 file for each shard,
// teacher and view specification. Format: shards/FORMAT.md.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "runtime/content_hash.h"
#include "runtime/error.h"

namespace cskd::shards {

constexpr std::uint32_t kFeatureCacheVersion = 2;
constexpr const char* kFeatureCacheFormat = "cskd-feature-cache";

// What features were computed with. A cache of another binding is refused; one with more views than asked for is not.
struct CacheBinding {
  std::string encoder;           // "ViT-B-32"
  runtime::ContentHash weights;  // of the teacher's parameters
  std::uint64_t image_size = 0;  // pixels
  std::string preprocessing;     // mean, stddev, resize filter, as text
  std::string views;             // how views are drawn, whatever their number, seed included, as text
  std::uint64_t decoder_version = 0;
  std::uint64_t view_count = 0;  // V, or those needed of them
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

// Name and value of every part of a binding but the number of views, in the order of the format.
std::vector<std::pair<std::string, std::string>> fields(const CacheBinding& binding);

}  // namespace cskd::shards

// Names, limits and layout of image shards; shards/FORMAT.md describes them to the byte.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/content_hash.h"
#include "shards/hdf5_file.h"
#include "shards/manifest.pb.h"
#include "shards/sample.h"

namespace cskd::shards {

constexpr std::uint32_t kImageShardVersion = 2;
constexpr const char* kImageShardFormat = "cskd-image-shard";
constexpr std::uint64_t kMostSamples = 16'384;
constexpr std::uint64_t kMostShardBytes = 512ULL << 20;

// A dataset as HDF5 stores it, and where a manifest keeps its place.
struct StoredDataset {
  const char* name;
  ElementType type;
  void (Manifest::Offsets::*set_offset)(std::uint64_t);
  bool of_labels;  // only in shards with labels
};
// In the order of datasets_of().
extern const std::array<StoredDataset, 17> kStoredDatasets;

// One dataset of a shard: where its bytes lie in the file.
struct Dataset {
  std::string name;
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
};

// Whether offsets of consecutive things are sound: they begin with 0, never fall, and end with `end`. REQUIRES: not
// empty
bool rises_to(const std::vector<std::uint64_t>& offsets, std::uint64_t end);

// Digest of what a shard holds (Manifest.Shard.plan): what stands in its datasets can be told from those of another
// one.
class PlanHasher {
 public:
  PlanHasher(std::string_view source_name, std::uint32_t source, Split split, std::uint64_t bins);
  // `size` of the encoded picture, its XXH3-128 and that of its pixels, as /hash and /pixel_hash hold them.
  void add_row(std::string_view key, std::uint64_t size, std::span<const std::uint8_t, 16> hash,
               std::span<const std::uint8_t, 16> pixel_hash, std::span<const float> histogram);
  runtime::ContentHash hash() const { return hasher_.hash(); }

 private:
  runtime::ContentHasher hasher_;
};

// All datasets that the shard has.
std::vector<Dataset> datasets_of(const Manifest::Shard& shard);

}  // namespace cskd::shards

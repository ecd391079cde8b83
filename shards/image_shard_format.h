// Names, limits and layout of image shards; shards/FORMAT.md describes them to the byte.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

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

// All datasets that the shard has.
std::vector<Dataset> datasets_of(const Manifest::Shard& shard);

}  // namespace cskd::shards

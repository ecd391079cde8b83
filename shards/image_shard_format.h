// Names, limits and layout of image shards; shards/FORMAT.md describes them to the byte.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "shards/manifest.pb.h"
#include "shards/sample.h"

namespace cskd::shards {

constexpr std::uint32_t kImageShardVersion = 2;
constexpr const char* kImageShardFormat = "cskd-image-shard";
constexpr std::uint64_t kMostSamples = 16'384;
constexpr std::uint64_t kMostShardBytes = 512ULL << 20;

// One dataset of a shard: where its bytes lie in the file.
struct Dataset {
  std::string name;
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
};

// All datasets that the shard has.
std::vector<Dataset> datasets_of(const Manifest::Shard& shard);

}  // namespace cskd::shards

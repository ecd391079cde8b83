// Which picture goes where: duplicates and leaks are dropped, the rest is shared out over shards. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "shards/image_shard_writer.h"
#include "shards/sample.h"
#include "stages/image_check.h"

namespace cskd::stages {

// A source with what was found out about each of its entries.
struct CheckedSource {
  std::string name;
  std::string kind;
  shards::Listing listing;
  std::vector<CheckedImage> images;  // as listing.entries
};

// A picture that does not enter the shards.
struct Dropped {
  std::uint32_t source = 0;
  std::string key;
  std::string reason;
};

struct PackingPlan {
  std::vector<shards::ShardPlan> shards;
  std::vector<std::vector<std::uint64_t>> entries;  // of each shard: positions in its source's listing
  std::vector<Dropped> duplicates;
  std::vector<Dropped> leaked;
  std::vector<Dropped> quarantined;
};

struct PackingLimits {
  std::uint64_t samples = 16'384;      // of a shard
  std::uint64_t bytes = 512ULL << 20;  // of a shard
};

// Exact content decides. Among pictures of equal bytes one stays: a test or validation picture before a training one, a
// training one before an unlabelled one, then the order of sources and keys. What goes because of a test or validation
// picture counts as leaked, the rest as duplicates. Order within a source and split: by content hash, which is a
// shuffle that does not depend on names, ranks or time.
PackingPlan plan_packing(const std::vector<CheckedSource>& sources, const PackingLimits& limits);

}  // namespace cskd::stages

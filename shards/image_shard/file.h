// An image shard without a manifest: what its file says of itself.
#pragma once

#include <filesystem>
#include <string>

#include "shards/manifest.pb.h"

namespace cskd::shards {

// What an image shard says of itself.
struct ShardEntry {
  // As a manifest would have it, but for what only a manifest knows: file_hash is empty, generation is 0 and no row is
  // withdrawn. `source` is what the first row says.
  Manifest::Shard shard;
  std::string source_name;
};

// Throws Error when the file cannot be opened, DataError that names file and dataset when it is no image shard of this
// version, or when its datasets disagree in their lengths or reach beyond the file. Reads no picture. Thread-safe.
ShardEntry read_shard_entry(const std::filesystem::path& path);

// A manifest of this shard alone: one source, its name and nothing else known of it. Throws as read_shard_entry().
Manifest lone_manifest(const std::filesystem::path& path);

}  // namespace cskd::shards

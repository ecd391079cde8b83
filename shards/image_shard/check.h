// A check of every byte of an image shard.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "runtime/content_hash.h"
#include "shards/manifest.pb.h"

namespace cskd::shards {

// Something wrong with a shard, or with one of its rows.
struct ShardFault {
  std::string file;  // name in its folder
  std::optional<std::uint64_t> row;
  std::string key;  // of the row; empty where keys are damaged themselves
  std::string what;
};

struct ShardCheck {
  std::uint64_t pictures = 0;      // whose bytes were compared with their checksums
  std::uint64_t bytes = 0;         // of the file, when it was read to its end
  runtime::ContentHash file_hash;  // then, too
  std::vector<ShardFault> faults;  // the first ones, of the file before those of rows
  std::uint64_t fault_count = 0;
};

// So many faults of one shard are described; the others are counted.
constexpr std::size_t kMostFaultsListed = 20;

// Checks everything that can be checked without decoding: the file's size, hash and HDF5 layout against its entry of a
// manifest (an entry without file_hash is that of lone_manifest(): the file has nothing else to agree with), CRC-32C
// and XXH3-128 of every picture, that offsets rise, keys differ, columns hold what they may, and labels are
// distributions with their means. Every byte of the file is read once. What is wrong is returned, not thrown.
// Thread-safe.
ShardCheck check_shard(const std::filesystem::path& path, const Manifest::Shard& shard, const Manifest::Source& source);

}  // namespace cskd::shards

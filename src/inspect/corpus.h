// A packed corpus or a single shard: what it holds, a check of every byte, and some pictures.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "inspect/contact_sheet.h"
#include "inspect/corpus_summary.h"
#include "runtime/world.h"
#include "shards/manifest.h"

namespace cskd::inspect {

// What is inspected: a manifest with the shards beside it, or one shard.
struct Collection {
  std::filesystem::path path;    // of the manifest or the shard
  std::filesystem::path folder;  // of the shards
  Manifest manifest;
  bool is_lone = false;

  const Manifest::Source& source(std::uint32_t index) const { return manifest.sources(static_cast<int>(index)); }
};

struct Verification {
  std::uint64_t shards = 0;  // read to their ends; so for pictures and bytes
  std::uint64_t pictures = 0;
  std::uint64_t bytes = 0;
  double seconds = 0;
  std::vector<ShardFault> faults;                 // in the order of the manifest
  std::map<std::string, std::uint64_t> unlisted;  // faults of a file beyond those
};

struct Inspection {
  Collection collection;
  CorpusSummary summary;
  std::optional<Verification> verification;
  std::optional<ContactSheet> sheet;
  std::vector<ShardFault> faults;  // of all three, each once
};

// The collection that a path means: a run folder, a folder of shards, a manifest, or one shard. Throws UsageError or
// DataError, which say what was expected.
Collection find_collection(const std::filesystem::path& path);

// Collective: deals the shards out to the ranks; every rank gets the whole result.
Verification verify(const Collection& collection, runtime::World& world);

// Lists faults that several means found as the first of them describes it.
void collect_faults(Inspection& inspection);

// `sheet`: the file that was drawn, where there is one.
std::string to_text(const Inspection& inspection, const std::filesystem::path& sheet);
std::string to_json(const Inspection& inspection, const std::filesystem::path& sheet);

}  // namespace cskd::inspect

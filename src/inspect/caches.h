// A report on feature caches: what they were computed with, and whether they are whole.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "runtime/world.h"

namespace cskd::inspect {

// The caches that a path means: a feature cache, or those in a folder, <run>/cache/<tower>. Nothing for what holds
// none.
std::vector<std::filesystem::path> find_caches(const std::filesystem::path& path);

struct CacheReport {
  std::string text;  // on rank 0
  bool are_whole = true;
};

// Headers of all files and, with `verify`, the checksum of every view's features, where ranks share the files, and a
// sample that the tower computes again (features/cache_set.h, Note [Cache audit]), where the caches are those of a run
// with its configuration, shards and weights. `json`: the same for programs. Collective.
CacheReport report_on_caches(const std::vector<std::filesystem::path>& caches, bool verify, bool json,
                             runtime::World& world);

}  // namespace cskd::inspect

// The writer of a feature cache.
#pragma once

#include <filesystem>
#include <vector>

#include "shards/feature_cache/format.h"

namespace cskd::shards {

// Writes `path` atomically (Note [Atomic files]). Throws Error.
void write_feature_cache(const std::filesystem::path& path, const CacheBinding& binding,
                         const std::vector<CacheRow>& rows);

}  // namespace cskd::shards

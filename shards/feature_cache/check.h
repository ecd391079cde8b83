// Checks of a whole feature cache.
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "shards/feature_cache/format.h"

namespace cskd::shards {

// Whether `path` is a whole cache for the samples with these image hashes, every row that has features undamaged.
// Throws BindingError.
bool is_valid_feature_cache(const std::filesystem::path& path, const CacheBinding& binding,
                            const std::vector<std::uint64_t>& image_hashes);

}  // namespace cskd::shards

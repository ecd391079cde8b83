// Checks of a whole feature cache.
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "shards/feature_cache/format.h"

namespace cskd::shards {

// Whether `path` is a whole cache for the samples with these image hashes that holds the views which the binding needs,
// every one of them undamaged. Throws BindingError.
bool is_valid_feature_cache(const std::filesystem::path& path, const CacheBinding& binding,
                            const std::vector<std::uint64_t>& image_hashes);

// The rows of such a cache, with the views that the binding needs or, where they are fewer, all that it holds; none
// when there is no whole cache. Throws BindingError.
std::vector<CacheRow> read_feature_cache(const std::filesystem::path& path, CacheBinding binding,
                                         const std::vector<std::uint64_t>& image_hashes);

}  // namespace cskd::shards

#include "shards/feature_cache/check.h"

#include "shards/feature_cache/reader.h"

namespace cskd::shards {

bool is_valid_feature_cache(const std::filesystem::path& path, const CacheBinding& binding,
                            const std::vector<std::uint64_t>& image_hashes) {
  if (!std::filesystem::exists(path)) return false;
  try {
    const FeatureCacheReader reader(path, binding, image_hashes.size());
    for (std::uint64_t row = 0; row < reader.samples(); ++row) {
      if (reader.image_hash(row) != image_hashes[row]) return false;
      if (reader.has_features(row)) static_cast<void>(reader.pooled(row, 0));
    }
    return true;
  } catch (const BindingError&) {
    throw;
  } catch (const runtime::Error&) {
    return false;
  }
}

}  // namespace cskd::shards

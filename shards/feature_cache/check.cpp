#include "shards/feature_cache/check.h"

#include <algorithm>
#include <functional>

#include "shards/feature_cache/reader.h"

namespace cskd::shards {
namespace {

// Calls read(reader, row) for every row of a cache of these pictures. False when it is not whole. Throws BindingError.
bool read_rows(const std::filesystem::path& path, const CacheBinding& binding,
               const std::vector<std::uint64_t>& image_hashes,
               const std::function<void(const FeatureCacheReader&, std::uint64_t)>& read) {
  if (!std::filesystem::exists(path)) return false;
  try {
    const FeatureCacheReader reader(path, binding, image_hashes.size());
    for (std::uint64_t row = 0; row < reader.samples(); ++row) {
      if (reader.image_hash(row) != image_hashes[row]) return false;
      read(reader, row);
    }
    return true;
  } catch (const BindingError&) {
    throw;
  } catch (const runtime::Error&) {
    return false;
  }
}

}  // namespace

bool is_valid_feature_cache(const std::filesystem::path& path, const CacheBinding& binding,
                            const std::vector<std::uint64_t>& image_hashes) {
  return read_rows(path, binding, image_hashes, [&](const FeatureCacheReader& reader, std::uint64_t row) {
    if (!reader.has_features(row)) return;
    for (std::uint64_t view = 0; view < binding.view_count; ++view) static_cast<void>(reader.pooled(row, view));
  });
}

std::vector<CacheRow> read_feature_cache(const std::filesystem::path& path, CacheBinding binding,
                                         const std::vector<std::uint64_t>& image_hashes) {
  const std::uint64_t wanted = binding.view_count;
  binding.view_count = 1;
  std::vector<CacheRow> rows;
  const bool is_whole =
      read_rows(path, binding, image_hashes, [&](const FeatureCacheReader& reader, std::uint64_t number) {
        CacheRow& row = rows.emplace_back();
        row.has_features = reader.has_features(number);
        row.image_hash = reader.image_hash(number);
        const std::uint64_t views = std::min(wanted, reader.views());
        for (std::uint64_t view = 0; view < views; ++view) {
          row.views.push_back(reader.view(number, view));
          if (!row.has_features) continue;
          const std::vector<std::uint16_t> features = reader.pooled(number, view);
          row.pooled.insert(row.pooled.end(), features.begin(), features.end());
        }
        row.pooled.resize(views * binding.width);
      });
  if (!is_whole) rows.clear();
  return rows;
}

}  // namespace cskd::shards

#include "shards/feature_cache/writer.h"

#include <span>

#include <fmt/format.h>

#include "runtime/atomic_file.h"
#include "runtime/check.h"
#include "runtime/crc32c.h"
#include "runtime/input_file.h"
#include "shards/feature_cache/check.h"
#include "shards/hdf5_file.h"

namespace cskd::shards {
namespace {

template <typename Number>
std::span<const std::byte> bytes_of(const std::vector<Number>& numbers) {
  return std::as_bytes(std::span(numbers));
}

}  // namespace

void write_feature_cache(const std::filesystem::path& path, const CacheBinding& binding,
                         const std::vector<CacheRow>& rows) {
  const std::uint64_t n = rows.size();
  const std::uint64_t v = binding.view_count;
  const std::uint64_t d = binding.width;
  std::vector<std::uint16_t> pooled;
  std::vector<std::int32_t> crop;
  std::vector<std::uint8_t> flip;
  std::vector<std::uint8_t> status;
  std::vector<std::uint64_t> image_hash;
  std::vector<std::uint32_t> crc32c;
  pooled.reserve(n * v * d);
  for (const CacheRow& row : rows) {
    CSKD_CHECK(row.views.size() == v && row.pooled.size() == v * d, "{} views and {} numbers", row.views.size(),
               row.pooled.size());
    for (const StoredView& view : row.views) {
      crop.insert(crop.end(), {view.x, view.y, view.width, view.height});
      flip.push_back(view.flip ? 1 : 0);
    }
    pooled.insert(pooled.end(), row.pooled.begin(), row.pooled.end());
    status.push_back(row.has_features ? 1 : 0);
    image_hash.push_back(row.image_hash);
    for (std::uint64_t view = 0; view < v; ++view)
      crc32c.push_back(runtime::crc32c(std::as_bytes(std::span(row.pooled).subspan(view * d, d))));
  }
  std::filesystem::path temporary = path;
  temporary += ".tmp";
  try {
    Hdf5Writer file(temporary);
    file.set_attribute("format", kFeatureCacheFormat);
    file.set_attribute("version", kFeatureCacheVersion);
    for (const auto& [name, value] : fields(binding)) file.set_attribute(name, value);
    file.set_attribute("view_count", std::to_string(v));
    file.write("pooled", ElementType::kF16, {n, v, d}, bytes_of(pooled));
    file.write("crop", ElementType::kI32, {n, v, 4}, bytes_of(crop));
    file.write("flip", ElementType::kU8, {n, v}, bytes_of(flip));
    file.write("status", ElementType::kU8, {n}, bytes_of(status));
    file.write("image_hash", ElementType::kU64, {n}, bytes_of(image_hash));
    file.write("crc32c", ElementType::kU32, {n, v}, bytes_of(crc32c));
    file.close();
    { const runtime::InputFile opened(temporary); }  // what keeps it from being opened is told by its own message
    if (!is_valid_feature_cache(temporary, binding, image_hash)) {
      throw runtime::Error(
          fmt::format("{} read back differs from what was written: the disk loses data", temporary.native()));
    }
    runtime::publish_file(temporary, path);
  } catch (...) {
    std::error_code ignored;
    std::filesystem::remove(temporary, ignored);
    throw;
  }
}

}  // namespace cskd::shards

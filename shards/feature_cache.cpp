#include "shards/feature_cache.h"

#include <algorithm>

#include <fmt/format.h>

#include "runtime/atomic_file.h"
#include "runtime/check.h"
#include "runtime/crc32c.h"
#include "runtime/error.h"
#include "runtime/input_file.h"
#include "shards/hdf5_file.h"

namespace cskd::shards {
namespace {

template <typename Number>
std::span<const std::byte> bytes_of(const std::vector<Number>& numbers) {
  return std::as_bytes(std::span(numbers));
}

// Name and value of every part of a binding, in the order of the format.
std::vector<std::pair<std::string, std::string>> fields(const CacheBinding& binding) {
  return {{"encoder", binding.encoder},
          {"weights", binding.weights.hex()},
          {"image_size", std::to_string(binding.image_size)},
          {"preprocessing", binding.preprocessing},
          {"views", binding.views},
          {"decoder_version", std::to_string(binding.decoder_version)},
          {"view_count", std::to_string(binding.view_count)},
          {"width", std::to_string(binding.width)}};
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
    crc32c.push_back(runtime::crc32c(bytes_of(row.pooled)));
  }
  std::filesystem::path temporary = path;
  temporary += ".tmp";
  try {
    Hdf5Writer file(temporary);
    file.set_attribute("format", kFeatureCacheFormat);
    file.set_attribute("version", kFeatureCacheVersion);
    for (const auto& [name, value] : fields(binding)) file.set_attribute(name, value);
    file.write("pooled", ElementType::kF16, {n, v, d}, bytes_of(pooled));
    file.write("crop", ElementType::kI32, {n, v, 4}, bytes_of(crop));
    file.write("flip", ElementType::kU8, {n, v}, bytes_of(flip));
    file.write("status", ElementType::kU8, {n}, bytes_of(status));
    file.write("image_hash", ElementType::kU64, {n}, bytes_of(image_hash));
    file.write("crc32c", ElementType::kU32, {n}, bytes_of(crc32c));
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

FeatureCacheReader::FeatureCacheReader(FilePlace place, const CacheBinding& binding, std::uint64_t samples)
    : file_(std::move(place)), views_(binding.view_count), width_(binding.width) {
  const runtime::InputFile& file = file_.opened();
  const std::filesystem::path& path = file.path();
  const Hdf5Layout layout(path);
  if (layout.text("format") != kFeatureCacheFormat || layout.number("version") != kFeatureCacheVersion) {
    throw runtime::DataError(
        fmt::format("{} is not a feature cache of version {}", path.native(), kFeatureCacheVersion));
  }
  for (const auto& [name, value] : fields(binding)) {
    if (const std::string& found = layout.text(name); found != value) {
      throw BindingError(
          fmt::format("{} was made with another {}: it has '{}', this run needs '{}'; remove its folder or choose "
                      "another run.folder",
                      path.native(), name, found, value));
    }
  }
  const auto require = [&](const char* name, ElementType type, const std::vector<std::uint64_t>& shape) {
    const DatasetInfo& info = layout.dataset(name, type);
    std::uint64_t length = size_of(type);
    for (const std::uint64_t extent : shape) length *= extent;
    if (info.shape != shape || info.offset > file.size() || length > file.size() - info.offset) {
      throw runtime::DataError(
          fmt::format("{}: /{} has another shape than {} samples need", path.native(), name, samples));
    }
    return info.offset;
  };
  pooled_offset_ = require("pooled", ElementType::kF16, {samples, views_, width_});
  crop_ =
      file.read_numbers<std::int32_t>(require("crop", ElementType::kI32, {samples, views_, 4}), samples * views_ * 4);
  flip_ = file.read_numbers<std::uint8_t>(require("flip", ElementType::kU8, {samples, views_}), samples * views_);
  status_ = file.read_numbers<std::uint8_t>(require("status", ElementType::kU8, {samples}), samples);
  image_hash_ = file.read_numbers<std::uint64_t>(require("image_hash", ElementType::kU64, {samples}), samples);
  crc32c_ = file.read_numbers<std::uint32_t>(require("crc32c", ElementType::kU32, {samples}), samples);
}

StoredView FeatureCacheReader::view(std::uint64_t row, std::uint64_t view) const {
  CSKD_CHECK(row < samples() && view < views_, "row {}, view {} in {}", row, view, file_.path().native());
  const std::uint64_t at = row * views_ + view;
  return {crop_[4 * at], crop_[4 * at + 1], crop_[4 * at + 2], crop_[4 * at + 3], flip_[at] != 0};
}

std::vector<std::uint16_t> FeatureCacheReader::pooled(std::uint64_t row, std::uint64_t view) const {
  CSKD_CHECK(row < samples() && view < views_, "row {}, view {} in {}", row, view, file_.path().native());
  if (!has_features(row)) {
    throw runtime::DataError(
        fmt::format("{} row {} has no features: its picture could not be read when they were computed; remove the file "
                    "and run 'cskd cache' again",
                    file_.path().native(), row));
  }
  std::vector<std::uint16_t> all(views_ * width_);
  std::uint32_t found = 0;
  const bool is_whole =
      file_.read_at(pooled_offset_ + 2 * row * views_ * width_, std::as_writable_bytes(std::span(all)), [&] {
        found = runtime::crc32c(bytes_of(all));
        return found == crc32c_[row];
      });
  if (!is_whole) {
    throw runtime::DataError(fmt::format(
        "{} row {} is damaged: CRC-32C {:08x}, {:08x} was written; remove the file and run 'cskd cache' again",
        file_.path().native(), row, found, crc32c_[row]));
  }
  const auto first = all.begin() + static_cast<std::ptrdiff_t>(view * width_);
  return {first, first + static_cast<std::ptrdiff_t>(width_)};
}

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

#include "shards/feature_cache/reader.h"

#include <charconv>
#include <span>
#include <string>

#include <fmt/format.h>

#include "runtime/check.h"
#include "runtime/crc32c.h"
#include "runtime/input_file.h"
#include "shards/hdf5_file.h"

namespace cskd::shards {
namespace {

std::uint64_t number_of_views(const Hdf5Layout& layout, const std::filesystem::path& path) {
  constexpr std::uint64_t kMost = 1 << 20;
  const std::string& text = layout.text("view_count");
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error == std::errc() && end == text.data() + text.size() && number >= 1 && number <= kMost) return number;
  throw runtime::DataError(fmt::format("{}: its view_count is '{}'", path.native(), text));
}

}  // namespace

FeatureCacheReader::FeatureCacheReader(FilePlace place, const CacheBinding& binding, std::uint64_t samples)
    : file_(std::move(place)), width_(binding.width) {
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
  views_ = number_of_views(layout, path);
  if (views_ < binding.view_count) {
    throw runtime::DataError(fmt::format("{} holds {} views of each picture, {} are needed: run 'cskd cache'",
                                         path.native(), views_, binding.view_count));
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
  crc32c_ = file.read_numbers<std::uint32_t>(require("crc32c", ElementType::kU32, {samples, views_}), samples * views_);
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
  const std::uint64_t at = row * views_ + view;
  std::vector<std::uint16_t> features(width_);
  std::uint32_t found = 0;
  const bool is_whole = file_.read_at(pooled_offset_ + 2 * at * width_, std::as_writable_bytes(std::span(features)), [&] {
    found = runtime::crc32c(std::as_bytes(std::span(features)));
    return found == crc32c_[at];
  });
  if (!is_whole) {
    throw runtime::DataError(fmt::format(
        "{} row {}, view {} is damaged: CRC-32C {:08x}, {:08x} was written; remove the file and run 'cskd cache' again",
        file_.path().native(), row, view, found, crc32c_[at]));
  }
  return features;
}

}  // namespace cskd::shards

#include "shards/image_shard/reader.h"

#include <algorithm>
#include <cstring>
#include <span>
#include <utility>

#include <fmt/format.h>

#include "runtime/check.h"
#include "runtime/crc32c.h"
#include "runtime/error.h"
#include "shards/image_shard/format.h"

namespace cskd::shards {

ImageShardReader::ImageShardReader(FilePlace place, const Manifest::Shard& shard, std::string_view source)
    : file_(std::move(place)), offsets_(shard.offsets()), bins_(shard.bins()), key_bytes_(shard.key_bytes()) {
  const runtime::InputFile& file = file_.opened();
  const std::filesystem::path& path = file.path();
  if (file.size() != shard.file_size()) {
    throw runtime::DataError(
        fmt::format("{} has {} bytes, its manifest says {}: it was cut off or replaced; run 'cskd shard' again",
                    path.native(), file.size(), shard.file_size()));
  }
  const std::uint64_t n = shard.samples();
  const Manifest::Offsets& offsets = shard.offsets();
  offset_ = file.read_numbers<std::uint64_t>(offsets.offset(), n + 1);
  crc32c_ = file.read_numbers<std::uint32_t>(offsets.crc32c(), n);
  size_ = file.read_numbers<std::uint16_t>(offsets.size(), 2 * n);
  hash_ = file.read_numbers<std::uint8_t>(offsets.hash(), 16 * n);
  if (bins_ > 0) histogram_ = file.read_numbers<float>(offsets.label_histogram(), n * bins_);
  const auto pixel_hashes = file.read_numbers<std::uint8_t>(offsets.pixel_hash(), 16 * n);
  const auto key_bytes = file.read_numbers<char>(offsets.key_bytes(), key_bytes_);
  const auto key_offset = file.read_numbers<std::uint64_t>(offsets.key_offset(), n + 1);
  if (!rises_to(offset_, shard.total_bytes()) || !rises_to(key_offset, key_bytes_)) {
    throw runtime::DataError(
        fmt::format("{} is damaged: its offsets do not rise to the end; run 'cskd shard' again", path.native()));
  }
  if (std::find(size_.begin(), size_.end(), 0) != size_.end()) {
    throw runtime::DataError(
        fmt::format("{} is damaged: a picture without pixels; run 'cskd shard' again", path.native()));
  }
  PlanHasher hasher(source, shard.source(), static_cast<Split>(shard.split()), bins_);
  for (std::uint64_t row = 0; row < n; ++row) {
    const std::uint64_t key_size = key_offset[row + 1] - key_offset[row];
    hasher.add_row(std::string_view(key_bytes.data(), key_bytes.size()).substr(key_offset[row], key_size), bytes(row),
                   std::span(hash_).subspan(16 * row).first<16>(),
                   std::span(pixel_hashes).subspan(16 * row).first<16>(),
                   std::span(histogram_).subspan(row * bins_, bins_));
  }
  if (hasher.hash() != runtime::ContentHash::from_bytes(shard.plan())) {
    throw runtime::DataError(fmt::format(
        "{} holds other samples than its manifest lists: it was replaced or is damaged; run 'cskd shard' again",
        path.native()));
  }
}

std::vector<std::byte> ImageShardReader::read(std::uint64_t row) const {
  CSKD_CHECK(row < samples(), "row {} of {} in {}", row, samples(), file_.path().native());
  std::vector<std::byte> target(bytes(row));
  read(row, target);
  return target;
}

void ImageShardReader::read(std::uint64_t row, std::span<std::byte> target) const {
  CSKD_CHECK(row < samples() && target.size() == bytes(row), "row {} of {} in {}, {} bytes", row, samples(),
             file_.path().native(), target.size());
  std::uint32_t found = 0;
  const bool is_whole = file_.read_at(offsets_.bytes() + offset_[row], target, [&] {
    found = runtime::crc32c(target);
    return found == crc32c_[row];
  });
  if (!is_whole) {
    throw runtime::DataError(
        fmt::format("{} is damaged: CRC-32C {:08x}, {:08x} was written; run 'cskd shard' again to restore it",
                    name(row), found, crc32c_[row]));
  }
}

void ImageShardReader::will_read(std::uint64_t row) const noexcept {
  file_.opened().will_read(offsets_.bytes() + offset_[row], bytes(row));
}

runtime::ContentHash ImageShardReader::hash(std::uint64_t row) const {
  runtime::ContentHash hash;
  std::copy_n(hash_.begin() + static_cast<std::ptrdiff_t>(16 * row), 16, hash.bytes.begin());
  return hash;
}

std::vector<ShardLook> ImageShardReader::looks() const {
  const std::vector<std::uint8_t> pixel_hashes =
      file_.opened().read_numbers<std::uint8_t>(offsets_.pixel_hash(), 16 * samples());
  const std::vector<std::uint64_t> phashes = file_.opened().read_numbers<std::uint64_t>(offsets_.phash(), samples());
  const std::vector<std::uint8_t> thumbnails =
      file_.opened().read_numbers<std::uint8_t>(offsets_.thumbnail(), kThumbnailBytes * samples());
  std::vector<ShardLook> looks(samples());
  for (std::size_t row = 0; row < looks.size(); ++row) {
    std::memcpy(looks[row].pixel_hash.bytes.data(), pixel_hashes.data() + 16 * row, 16);
    looks[row].phash = phashes[row];
    std::memcpy(looks[row].thumbnail.data(), thumbnails.data() + kThumbnailBytes * row, kThumbnailBytes);
  }
  return looks;
}

std::string ImageShardReader::key(std::uint64_t row) const {
  CSKD_CHECK(row < samples(), "row {} of {} in {}", row, samples(), file_.path().native());
  const std::vector<std::uint64_t> ends =
      file_.opened().read_numbers<std::uint64_t>(offsets_.key_offset() + 8 * row, 2);
  if (ends[0] > ends[1] || ends[1] > key_bytes_) {
    throw runtime::DataError(fmt::format("{} was changed while it was open", file_.path().native()));
  }
  std::string key(ends[1] - ends[0], '\0');
  file_.opened().read_at(offsets_.key_bytes() + ends[0], std::as_writable_bytes(std::span(key)));
  return key;
}

std::string ImageShardReader::name(std::uint64_t row) const {
  try {
    return fmt::format("{} row {} ('{}')", file_.path().native(), row, key(row));
  } catch (const runtime::Error&) {
    return fmt::format("{} row {}", file_.path().native(), row);
  }
}

std::span<const float> ImageShardReader::histogram(std::uint64_t row) const {
  CSKD_CHECK(has_labels() && row < samples(), "row {} of {} in {}, {} bins", row, samples(), file_.path().native(),
             bins_);
  return std::span(histogram_).subspan(row * bins_, bins_);
}

}  // namespace cskd::shards

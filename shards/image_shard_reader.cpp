#include "shards/image_shard_reader.h"

#include <algorithm>
#include <cstring>
#include <span>

#include <fmt/format.h>

#include "runtime/check.h"
#include "runtime/crc32c.h"
#include "runtime/error.h"
#include "shards/image_shard_format.h"

namespace cskd::shards {
ImageShardReader::ImageShardReader(const std::filesystem::path& path, const Manifest::Shard& shard)
    : file_(path), offsets_(shard.offsets()), bins_(shard.bins()) {
  if (file_.size() != shard.file_size()) {
    throw runtime::DataError(
        fmt::format("{} has {} bytes, its manifest says {}: it was cut off or replaced; run 'cskd shard' again",
                    path.native(), file_.size(), shard.file_size()));
  }
  const std::uint64_t n = shard.samples();
  const Manifest::Offsets& offsets = shard.offsets();
  offset_ = file_.read_numbers<std::uint64_t>(offsets.offset(), n + 1);
  crc32c_ = file_.read_numbers<std::uint32_t>(offsets.crc32c(), n);
  size_ = file_.read_numbers<std::uint16_t>(offsets.size(), 2 * n);
  hash_ = file_.read_numbers<std::uint8_t>(offsets.hash(), 16 * n);
  key_bytes_ = file_.read_numbers<std::uint8_t>(offsets.key_bytes(), shard.key_bytes());
  key_offset_ = file_.read_numbers<std::uint64_t>(offsets.key_offset(), n + 1);
  if (!rises_to(offset_, shard.total_bytes()) || !rises_to(key_offset_, shard.key_bytes())) {
    throw runtime::DataError(
        fmt::format("{} is damaged: its offsets do not rise to the end; run 'cskd shard' again", path.native()));
  }
  if (bins_ > 0) {
    mean_ = file_.read_numbers<float>(offsets.label_mean(), n);
    stddev_ = file_.read_numbers<float>(offsets.label_std(), n);
    histogram_ = file_.read_numbers<float>(offsets.label_histogram(), n * bins_);
  }
}

std::vector<std::byte> ImageShardReader::read(std::uint64_t row) const {
  CSKD_CHECK(row < samples(), "row {} of {} in {}", row, samples(), file_.path().native());
  std::vector<std::byte> bytes = file_.read_at(offsets_.bytes() + offset_[row], offset_[row + 1] - offset_[row]);
  const std::uint32_t found = runtime::crc32c(bytes);
  if (found != crc32c_[row]) {
    throw runtime::DataError(fmt::format(
        "{} row {} ('{}') is damaged: CRC-32C {:08x}, {:08x} was written; run 'cskd shard' again to restore it",
        file_.path().native(), row, key(row), found, crc32c_[row]));
  }
  return bytes;
}

runtime::ContentHash ImageShardReader::hash(std::uint64_t row) const {
  runtime::ContentHash hash;
  std::copy_n(hash_.begin() + static_cast<std::ptrdiff_t>(16 * row), 16, hash.bytes.begin());
  return hash;
}

std::vector<ShardLook> ImageShardReader::looks() const {
  const std::vector<std::uint8_t> pixel_hashes =
      file_.read_numbers<std::uint8_t>(offsets_.pixel_hash(), 16 * samples());
  const std::vector<std::uint64_t> phashes = file_.read_numbers<std::uint64_t>(offsets_.phash(), samples());
  const std::vector<std::uint8_t> thumbnails =
      file_.read_numbers<std::uint8_t>(offsets_.thumbnail(), kThumbnailBytes * samples());
  std::vector<ShardLook> looks(samples());
  for (std::size_t row = 0; row < looks.size(); ++row) {
    std::memcpy(looks[row].pixel_hash.bytes.data(), pixel_hashes.data() + 16 * row, 16);
    looks[row].phash = phashes[row];
    std::memcpy(looks[row].thumbnail.data(), thumbnails.data() + kThumbnailBytes * row, kThumbnailBytes);
  }
  return looks;
}

std::string ImageShardReader::key(std::uint64_t row) const {
  return {key_bytes_.begin() + static_cast<std::ptrdiff_t>(key_offset_[row]),
          key_bytes_.begin() + static_cast<std::ptrdiff_t>(key_offset_[row + 1])};
}

Label ImageShardReader::label(std::uint64_t row) const {
  CSKD_CHECK(has_labels(), "{} has no labels", file_.path().native());
  const auto first = histogram_.begin() + static_cast<std::ptrdiff_t>(row * bins_);
  return {mean_[row], stddev_[row], {first, first + static_cast<std::ptrdiff_t>(bins_)}};
}

}  // namespace cskd::shards

#include "shards/image_shard/format.h"

#include <algorithm>

namespace cskd::shards {

const std::array<StoredDataset, 17> kStoredDatasets{{
    {"bytes", ElementType::kU8, &Manifest::Offsets::set_bytes, false},
    {"offset", ElementType::kU64, &Manifest::Offsets::set_offset, false},
    {"hash", ElementType::kU8, &Manifest::Offsets::set_hash, false},
    {"crc32c", ElementType::kU32, &Manifest::Offsets::set_crc32c, false},
    {"pixel_hash", ElementType::kU8, &Manifest::Offsets::set_pixel_hash, false},
    {"phash", ElementType::kU64, &Manifest::Offsets::set_phash, false},
    {"thumbnail", ElementType::kU8, &Manifest::Offsets::set_thumbnail, false},
    {"size", ElementType::kU16, &Manifest::Offsets::set_size, false},
    {"format", ElementType::kU8, &Manifest::Offsets::set_format, false},
    {"orientation", ElementType::kU8, &Manifest::Offsets::set_orientation, false},
    {"split", ElementType::kU8, &Manifest::Offsets::set_split, false},
    {"source", ElementType::kU32, &Manifest::Offsets::set_source, false},
    {"key_bytes", ElementType::kU8, &Manifest::Offsets::set_key_bytes, false},
    {"key_offset", ElementType::kU64, &Manifest::Offsets::set_key_offset, false},
    {"label/mean", ElementType::kF32, &Manifest::Offsets::set_label_mean, true},
    {"label/std", ElementType::kF32, &Manifest::Offsets::set_label_std, true},
    {"label/histogram", ElementType::kF32, &Manifest::Offsets::set_label_histogram, true},
}};

PlanHasher::PlanHasher(std::string_view source_name, std::uint32_t source, Split split, std::uint64_t bins) {
  hasher_.add_field(kImageShardVersion);
  hasher_.add_field(source_name);
  hasher_.add_field(source);
  hasher_.add_field(static_cast<std::uint64_t>(split));
  hasher_.add_field(bins);
}

void PlanHasher::add_row(std::string_view key, std::uint64_t size, std::span<const std::uint8_t, 16> hash,
                         std::span<const std::uint8_t, 16> pixel_hash, std::span<const float> histogram) {
  hasher_.add_field(key);
  hasher_.add_field(size);
  hasher_.add(std::as_bytes(hash));
  hasher_.add(std::as_bytes(pixel_hash));
  hasher_.add(std::as_bytes(histogram));
}

std::vector<Dataset> datasets_of(const Manifest::Shard& shard) {
  const Manifest::Offsets& offsets = shard.offsets();
  const std::uint64_t n = shard.samples();
  std::vector<Dataset> datasets{
      {"bytes", offsets.bytes(), shard.total_bytes()},
      {"offset", offsets.offset(), 8 * (n + 1)},
      {"hash", offsets.hash(), 16 * n},
      {"crc32c", offsets.crc32c(), 4 * n},
      {"pixel_hash", offsets.pixel_hash(), 16 * n},
      {"phash", offsets.phash(), 8 * n},
      {"thumbnail", offsets.thumbnail(), kThumbnailBytes * n},
      {"size", offsets.size(), 4 * n},
      {"format", offsets.format(), n},
      {"orientation", offsets.orientation(), n},
      {"split", offsets.split(), n},
      {"source", offsets.source(), 4 * n},
      {"key_bytes", offsets.key_bytes(), shard.key_bytes()},
      {"key_offset", offsets.key_offset(), 8 * (n + 1)},
  };
  if (shard.bins() > 0) {
    datasets.push_back({"label/mean", offsets.label_mean(), 4 * n});
    datasets.push_back({"label/std", offsets.label_std(), 4 * n});
    datasets.push_back({"label/histogram", offsets.label_histogram(), 4 * n * shard.bins()});
  }
  return datasets;
}

bool rises_to(const std::vector<std::uint64_t>& offsets, std::uint64_t end) {
  return offsets.front() == 0 && offsets.back() == end && std::is_sorted(offsets.begin(), offsets.end());
}

}  // namespace cskd::shards

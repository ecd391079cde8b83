#include "shards/image_shard_format.h"

namespace cskd::shards {

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

}  // namespace cskd::shards

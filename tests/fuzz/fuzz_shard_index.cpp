// A shard whose index (offsets, keys, hashes, labels) is made up: refused, or every row can be asked for. The HDF5
// library itself is not fuzzed: reading goes by the manifest's offsets, without it.
#include <cstring>

#include "runtime/check.h"
#include "runtime/error.h"
#include "shards/image_shard/format.h"
#include "shards/image_shard/reader.h"
#include "shards/manifest.h"
#include "tests/fuzz/scratch_file.h"

namespace {

// What a manifest would say of this shard, as far as its offsets are sound.
cskd::runtime::ContentHash plan_of(const std::string& file, const cskd::shards::Manifest::Shard& shard) {
  using namespace cskd::shards;
  const auto numbers = [&](std::uint64_t at, std::uint64_t count) {
    std::vector<std::uint64_t> result(count);
    std::memcpy(result.data(), file.data() + at, 8 * count);
    return result;
  };
  const std::uint64_t n = shard.samples();
  const std::vector<std::uint64_t> offset = numbers(shard.offsets().offset(), n + 1);
  const std::vector<std::uint64_t> key_offset = numbers(shard.offsets().key_offset(), n + 1);
  PlanHasher hasher("source", shard.source(), static_cast<Split>(shard.split()), shard.bins());
  if (!rises_to(offset, shard.total_bytes()) || !rises_to(key_offset, shard.key_bytes())) return hasher.hash();
  const auto hash_at = [&](std::uint64_t at) {
    return std::span<const std::uint8_t, 16>(reinterpret_cast<const std::uint8_t*>(file.data()) + at, 16);
  };
  for (std::uint64_t row = 0; row < n; ++row) {
    std::vector<float> histogram(shard.bins());
    if (!histogram.empty()) {
      std::memcpy(histogram.data(), file.data() + shard.offsets().label_histogram() + 4 * row * shard.bins(),
                  4 * histogram.size());
    }
    hasher.add_row(std::string_view(file).substr(shard.offsets().key_bytes() + key_offset[row],
                                                 key_offset[row + 1] - key_offset[row]),
                   offset[row + 1] - offset[row], hash_at(shard.offsets().hash() + 16 * row),
                   hash_at(shard.offsets().pixel_hash() + 16 * row), histogram);
  }
  return hasher.hash();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cskd;
  // One byte each: samples, bytes of pictures (in 8), bytes of keys, bins.
  if (size < 4) return 0;
  shards::Manifest::Shard shard;
  shard.set_file("s.h5");
  shard.set_samples(1 + data[0] % 8);
  shard.set_total_bytes(std::uint64_t{8} * data[1]);
  shard.set_key_bytes(data[2]);
  shard.set_bins(data[3] % 4);
  // The datasets follow each other: what the fuzzer gives is their contents.
  const google::protobuf::Descriptor& fields = *shards::Manifest::Offsets::descriptor();
  std::uint64_t at = 0;
  for (int i = 0; i < fields.field_count(); ++i) {
    shard.mutable_offsets()->GetReflection()->SetUInt64(shard.mutable_offsets(), fields.field(i), at);
    const std::vector<shards::Dataset> datasets = shards::datasets_of(shard);
    if (static_cast<std::size_t>(i) < datasets.size()) at += datasets[static_cast<std::size_t>(i)].length;
  }
  shard.set_file_size(at);
  std::string file(fuzz::text_of(data + 4, size - 4));
  file.resize(at);
  const std::filesystem::path path = fuzz::write(fuzz::scratch_folder() / "s.h5", file);
  const runtime::ContentHash plan = plan_of(file, shard);
  shard.set_plan(plan.bytes.data(), plan.bytes.size());
  try {
    const shards::ImageShardReader reader(path, shard, "source");
    for (std::uint64_t row = 0; row < reader.samples(); ++row) {
      static_cast<void>(reader.key(row));
      static_cast<void>(reader.name(row));
      static_cast<void>(reader.hash(row));
      if (reader.has_labels()) static_cast<void>(reader.histogram(row));
      try {
        static_cast<void>(reader.read(row));
      } catch (const runtime::DataError&) {
        continue;
      }
    }
    CSKD_CHECK(reader.looks().size() == reader.samples(), "{} looks", reader.looks().size());
  } catch (const runtime::Error&) {
    return 0;
  }
  return 0;
}

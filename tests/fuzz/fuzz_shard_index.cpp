// A shard whose index (offsets, keys, hashes, labels) is made up: refused, or every row can be asked for. The HDF5
// library itself is not fuzzed: reading goes by the manifest's offsets, without it.
#include <cstring>

#include "runtime/check.h"
#include "runtime/error.h"
#include "shards/image_shard_format.h"
#include "shards/image_shard_reader.h"
#include "shards/manifest.h"
#include "tests/fuzz/scratch_file.h"

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
  try {
    const shards::ImageShardReader reader(path, shard);
    for (std::uint64_t row = 0; row < reader.samples(); ++row) {
      static_cast<void>(reader.key(row));
      static_cast<void>(reader.hash(row));
      if (reader.has_labels()) static_cast<void>(reader.label(row));
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

#include "shards/image_shard/file.h"

#include <algorithm>
#include <array>
#include <charconv>

#include <fmt/format.h>

#include "runtime/check.h"
#include "runtime/content_hash.h"
#include "runtime/error.h"
#include "runtime/input_file.h"
#include "shards/hdf5_file.h"
#include "shards/image_shard/format.h"
#include "shards/sample.h"

namespace cskd::shards {
namespace {

// Bounds of what is read into memory for a file that nothing vouches for.
constexpr std::uint64_t kMostBins = 1024;
constexpr std::uint64_t kMostKeyBytes = 16'384;  // a row, on average

[[noreturn]] void refuse(const std::filesystem::path& path, const std::string& what) {
  throw runtime::DataError(fmt::format("{}: {}", path.native(), what));
}

std::string shape_text(const std::vector<std::uint64_t>& shape) { return fmt::format("[{}]", fmt::join(shape, ", ")); }

// Bytes of a dataset; nothing when there are more than in any file.
std::optional<std::uint64_t> length_of(const DatasetInfo& dataset, ElementType type) {
  std::uint64_t length = size_of(type);
  for (const std::uint64_t extent : dataset.shape) {
    if (extent != 0 && length > (1ULL << 62) / extent) return std::nullopt;
    length *= extent;
  }
  return length;
}

Split split_named(const std::string& name, const std::filesystem::path& path) {
  for (const Split split : {Split::kUnlabelled, Split::kTrain, Split::kValidation, Split::kTest}) {
    if (name == to_string(split)) return split;
  }
  refuse(path, fmt::format("its attribute 'split' is '{}'", name));
}

std::string bytes_of_hex(const std::string& hex, const std::filesystem::path& path) {
  std::string bytes;
  for (const char* at = hex.data(); at < hex.data() + hex.size(); at += 2) {
    unsigned value = 0;
    if (std::from_chars(at, at + 2, value, 16).ptr == at + 2) bytes += static_cast<char>(value);
  }
  if (bytes.size() != runtime::ContentHash{}.bytes.size() || hex.size() != 2 * bytes.size()) {
    refuse(path, fmt::format("its attribute 'plan' is '{}', not a hash", hex));
  }
  return bytes;
}

void check_version(const Hdf5Layout& layout, const std::filesystem::path& path) {
  if (layout.text("format") != kImageShardFormat) {
    refuse(path, fmt::format("its attribute 'format' is '{}', that of an image shard '{}'", layout.text("format"),
                             kImageShardFormat));
  }
  if (layout.number("version") != kImageShardVersion) {
    refuse(path,
           fmt::format("it is an image shard of version {}, this program reads version {}: pack the sources again",
                       layout.number("version"), kImageShardVersion));
  }
}

// Numbers of samples, bytes and bins, from the shapes of the datasets that have them.
void set_counts(Manifest::Shard& shard, const Hdf5Layout& layout, const std::filesystem::path& path) {
  const auto extent = [&](const char* name, ElementType type, std::size_t dimensions) {
    const std::vector<std::uint64_t>& shape = layout.dataset(name, type).shape;
    if (shape.size() != dimensions) {
      refuse(path, fmt::format("/{} has the shape {}, expected {} dimensions", name, shape_text(shape), dimensions));
    }
    return shape.back();
  };
  const std::uint64_t ends = extent("offset", ElementType::kU64, 1);
  if (ends < 2 || ends > kMostSamples + 1) {
    refuse(path,
           fmt::format("/offset has {} elements, a shard of 1 to {} samples one more than those", ends, kMostSamples));
  }
  shard.set_samples(ends - 1);
  shard.set_total_bytes(extent("bytes", ElementType::kU8, 1));
  shard.set_key_bytes(extent("key_bytes", ElementType::kU8, 1));
  if (shard.key_bytes() > kMostKeyBytes * shard.samples()) {
    refuse(path, fmt::format("/key_bytes has {} bytes for {} keys", shard.key_bytes(), shard.samples()));
  }
  if (!layout.has("label/mean") && !layout.has("label/histogram")) return;
  const std::uint64_t bins = extent("label/histogram", ElementType::kF32, 2);
  if (bins == 0 || bins > kMostBins) {
    refuse(path, fmt::format("/label/histogram has {} bins, 1 to {} are read", bins, kMostBins));
  }
  shard.set_bins(static_cast<std::uint32_t>(bins));
}

}  // namespace

ShardEntry read_shard_entry(const std::filesystem::path& path) {
  const runtime::InputFile file(path);
  const Hdf5Layout layout(path);
  check_version(layout, path);
  ShardEntry entry{.shard = {}, .source_name = layout.text("source")};
  Manifest::Shard& shard = entry.shard;
  shard.set_file(path.filename().native());
  shard.set_file_size(file.size());
  shard.set_split(static_cast<std::uint32_t>(split_named(layout.text("split"), path)));
  shard.set_plan(bytes_of_hex(layout.text("plan"), path));
  set_counts(shard, layout, path);
  const std::vector<Dataset> expected = datasets_of(shard);
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const StoredDataset& stored = kStoredDatasets[i];
    CSKD_CHECK(expected[i].name == stored.name, "dataset {} is {}, not {}", i, expected[i].name, stored.name);
    const DatasetInfo& found = layout.dataset(stored.name, stored.type);
    if (length_of(found, stored.type) != expected[i].length) {
      refuse(path, fmt::format("/{} has the shape {}, which does not fit {} samples", stored.name,
                               shape_text(found.shape), shard.samples()));
    }
    if (found.offset > file.size() || expected[i].length > file.size() - found.offset) {
      refuse(path, fmt::format("/{} reaches beyond the end of the file: it was cut off", stored.name));
    }
    (shard.mutable_offsets()->*stored.set_offset)(found.offset);
  }
  shard.set_source(file.read_numbers<std::uint32_t>(shard.offsets().source(), 1).front());
  return entry;
}

Manifest lone_manifest(const std::filesystem::path& path) {
  const ShardEntry entry = read_shard_entry(path);
  Manifest manifest;
  Manifest::Source& source = *manifest.add_sources();
  source.set_name(entry.source_name);
  source.set_packed(entry.shard.samples());
  *manifest.add_shards() = entry.shard;
  manifest.mutable_shards(0)->set_source(0);
  manifest.set_generations(1);
  return manifest;
}

}  // namespace cskd::shards

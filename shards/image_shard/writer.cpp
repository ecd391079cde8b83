#include "shards/image_shard/writer.h"

#include <map>

#include <fmt/format.h>

#include "runtime/atomic_file.h"
#include "runtime/check.h"
#include "runtime/crc32c.h"
#include "runtime/error.h"
#include "runtime/failure_point.h"
#include "runtime/input_file.h"
#include "shards/hdf5_file.h"
#include "shards/image_shard/check.h"
#include "shards/image_shard/file.h"
#include "shards/image_shard/format.h"
#include "shards/image_shard/reader.h"

namespace cskd::shards {
namespace {

constexpr std::uint64_t kCopyBlock = 8ULL << 20;

template <typename Number>
std::span<const std::byte> bytes_of(const std::vector<Number>& numbers) {
  return std::as_bytes(std::span(numbers));
}

// Columns of the rows, as they are stored.
struct Columns {
  std::vector<std::uint64_t> offset{0};
  std::vector<std::uint8_t> hash, pixel_hash;
  std::vector<std::uint64_t> phash;
  std::vector<std::uint8_t> thumbnail;
  std::vector<std::uint16_t> size;
  std::vector<std::uint8_t> format, orientation, split;
  std::vector<std::uint32_t> source;
  std::vector<std::uint8_t> key_bytes;
  std::vector<std::uint64_t> key_offset{0};
  std::vector<float> mean, stddev, histogram;

  explicit Columns(const ShardPlan& plan) {
    for (const ShardRow& row : plan.rows) {
      offset.push_back(offset.back() + row.size);
      hash.insert(hash.end(), row.hash.bytes.begin(), row.hash.bytes.end());
      pixel_hash.insert(pixel_hash.end(), row.pixel_hash.bytes.begin(), row.pixel_hash.bytes.end());
      phash.push_back(row.phash);
      thumbnail.insert(thumbnail.end(), row.thumbnail.begin(), row.thumbnail.end());
      size.insert(size.end(), {row.width, row.height});
      format.push_back(row.format);
      orientation.push_back(row.orientation);
      split.push_back(static_cast<std::uint8_t>(plan.split));
      source.push_back(plan.source);
      key_bytes.insert(key_bytes.end(), row.key.begin(), row.key.end());
      key_offset.push_back(key_bytes.size());
      mean.push_back(row.label.mean);
      stddev.push_back(row.label.stddev);
      histogram.insert(histogram.end(), row.label.histogram.begin(), row.label.histogram.end());
    }
  }
};

void copy_pictures(Hdf5Writer& file, const ShardPlan& plan, const Columns& columns, const ReadPicture& read) {
  file.create("bytes", ElementType::kU8, {columns.offset.back()});
  std::vector<std::uint32_t> crc32c;
  std::vector<std::byte> block;
  for (std::size_t first = 0; first < plan.rows.size();) {
    std::size_t end = first + 1;
    while (end < plan.rows.size() && columns.offset[end + 1] - columns.offset[first] <= kCopyBlock) ++end;
    block.resize(columns.offset[end] - columns.offset[first]);
    for (std::size_t row = first; row < end; ++row) {
      const std::span<std::byte> bytes =
          std::span(block).subspan(columns.offset[row] - columns.offset[first], plan.rows[row].size);
      read(row, bytes);
      if (runtime::content_hash(bytes) != plan.rows[row].hash) {
        throw runtime::DataError(fmt::format("'{}' of source '{}' changed while the corpus was packed",
                                             plan.rows[row].key, plan.source_name));
      }
      crc32c.push_back(runtime::crc32c(bytes));
    }
    file.write_rows("bytes", columns.offset[first], block.size(), block);
    first = end;
  }
  file.write("crc32c", ElementType::kU32, {plan.rows.size()}, bytes_of(crc32c));
}

void write_columns(Hdf5Writer& file, const ShardPlan& plan, const Columns& columns) {
  const std::uint64_t n = plan.rows.size();
  file.write("offset", ElementType::kU64, {n + 1}, bytes_of(columns.offset));
  file.write("hash", ElementType::kU8, {n, 16}, bytes_of(columns.hash));
  file.write("pixel_hash", ElementType::kU8, {n, 16}, bytes_of(columns.pixel_hash));
  file.write("phash", ElementType::kU64, {n}, bytes_of(columns.phash));
  file.write("thumbnail", ElementType::kU8, {n, 8, 8, 3}, bytes_of(columns.thumbnail));
  file.write("size", ElementType::kU16, {n, 2}, bytes_of(columns.size));
  file.write("format", ElementType::kU8, {n}, bytes_of(columns.format));
  file.write("orientation", ElementType::kU8, {n}, bytes_of(columns.orientation));
  file.write("split", ElementType::kU8, {n}, bytes_of(columns.split));
  file.write("source", ElementType::kU32, {n}, bytes_of(columns.source));
  file.write("key_bytes", ElementType::kU8, {columns.key_bytes.size()}, bytes_of(columns.key_bytes));
  file.write("key_offset", ElementType::kU64, {n + 1}, bytes_of(columns.key_offset));
  if (plan.bins > 0) {
    file.write("label/mean", ElementType::kF32, {n}, bytes_of(columns.mean));
    file.write("label/std", ElementType::kF32, {n}, bytes_of(columns.stddev));
    file.write("label/histogram", ElementType::kF32, {n, plan.bins}, bytes_of(columns.histogram));
  }
}

Manifest::Shard entry(const ShardPlan& plan, const Manifest::Offsets& offsets) {
  Manifest::Shard shard;
  shard.set_file(plan.file);
  shard.set_samples(plan.rows.size());
  for (const ShardRow& row : plan.rows) {
    shard.set_total_bytes(shard.total_bytes() + row.size);
    shard.set_key_bytes(shard.key_bytes() + row.key.size());
  }
  shard.set_source(plan.source);
  shard.set_split(static_cast<std::uint32_t>(plan.split));
  shard.set_bins(plan.bins);
  shard.set_generation(plan.generation);
  const runtime::ContentHash digest = plan_digest(plan);
  shard.set_plan(digest.bytes.data(), digest.bytes.size());
  *shard.mutable_offsets() = offsets;
  return shard;
}

Manifest::Offsets offsets_of(const std::map<std::string, std::uint64_t>& places) {
  Manifest::Offsets offsets;
  for (const StoredDataset& dataset : kStoredDatasets) {
    if (const auto place = places.find(dataset.name); place != places.end())
      (offsets.*dataset.set_offset)(place->second);
  }
  return offsets;
}

// Reads the file at `path` once: its size and hash go into the entry, and every picture is compared with its row.
void verify(const std::filesystem::path& path, Manifest::Shard& shard, const ShardPlan& plan) {
  { const runtime::InputFile opened(path); }  // what keeps it from being opened is told by its own message
  shard.set_file_size(std::filesystem::file_size(path));
  const ShardCheck check = check_shard(path, shard, {});
  if (!check.faults.empty()) {
    throw runtime::DataError(
        fmt::format("{} read back differs from what was written: {}", path.native(), check.faults.front().what));
  }
  const ImageShardReader reader(path, shard, plan.source_name);
  for (std::uint64_t row = 0; row < shard.samples(); ++row) {
    if (reader.hash(row) != plan.rows[row].hash) {
      throw runtime::DataError(
          fmt::format("{} row {} read back differs from its source: the disk loses data", path.native(), row));
    }
  }
  shard.set_file_hash(check.file_hash.bytes.data(), check.file_hash.bytes.size());
}

}  // namespace

runtime::ContentHash plan_digest(const ShardPlan& plan) {
  PlanHasher hasher(plan.source_name, plan.source, plan.split, plan.bins);
  for (const ShardRow& row : plan.rows)
    hasher.add_row(row.key, row.size, row.hash.bytes, row.pixel_hash.bytes, row.label.histogram);
  return hasher.hash();
}

Manifest::Shard write_image_shard(const std::filesystem::path& folder, const ShardPlan& plan, const ReadPicture& read) {
  CSKD_CHECK(!plan.rows.empty() && plan.rows.size() <= kMostSamples, "{} samples in a shard", plan.rows.size());
  const std::filesystem::path path = folder / plan.file;
  std::filesystem::path temporary = path;
  temporary += ".tmp";
  try {
    runtime::failure_point("image_shard.open", temporary.native());
    Hdf5Writer file(temporary);
    file.set_attribute("format", kImageShardFormat);
    file.set_attribute("version", kImageShardVersion);
    file.set_attribute("source", plan.source_name);
    file.set_attribute("split", std::string(to_string(plan.split)));
    file.set_attribute("plan", plan_digest(plan).hex());
    const Columns columns(plan);
    copy_pictures(file, plan, columns, read);
    write_columns(file, plan, columns);
    Manifest::Shard shard = entry(plan, offsets_of(file.close()));
    runtime::failure_point("image_shard.verify", temporary.native());
    verify(temporary, shard, plan);
    runtime::publish_file(temporary, path);
    return shard;
  } catch (...) {
    std::error_code ignored;
    std::filesystem::remove(temporary, ignored);
    throw;
  }
}

std::optional<Manifest::Shard> find_image_shard(const std::filesystem::path& folder, const ShardPlan& plan) {
  const std::filesystem::path path = folder / plan.file;
  if (!std::filesystem::exists(path)) return std::nullopt;
  try {
    const ShardEntry found = read_shard_entry(path);
    const runtime::ContentHash digest = plan_digest(plan);
    if (found.shard.plan() != std::string(digest.bytes.begin(), digest.bytes.end())) return std::nullopt;
    Manifest::Shard shard = entry(plan, found.shard.offsets());
    verify(path, shard, plan);
    return shard;
  } catch (const runtime::Error&) {
    return std::nullopt;  // damaged: it is written again
  }
}

}  // namespace cskd::shards

#include "features/cache_set.h"

#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "batches/batches.h"
#include "data/open_staged.h"
#include "data/render_view.h"
#include "data/sampler.h"
#include "runtime/error.h"
#include "runtime/open_files.h"
#include "runtime/philox.h"
#include "runtime/shared_files.h"

namespace cskd::features {
namespace {

void check_rows(const shards::FeatureCacheReader& cache, const shards::ImageShardReader& shard,
                const std::filesystem::path& path, std::uint64_t views, const std::string& command) {
  for (std::uint64_t row = 0; row < cache.samples(); ++row) {
    if (cache.image_hash(row) != shard.hash(row).prefix()) {
      throw runtime::DataError(
          fmt::format("{} row {} belongs to another picture than that row of {}: remove it and run '{}'", path.native(),
                      row, shard.path().native(), command));
    }
    for (std::uint64_t view = 0; view < views; ++view) {
      const shards::StoredView box = cache.view(row, view);
      if (box.x < 0 || box.y < 0 || box.width < 1 || box.height < 1 || box.width > shard.width(row) - box.x ||
          box.height > shard.height(row) - box.y) {
        throw runtime::DataError(fmt::format(
            "{} row {} is damaged: view {} shows {} x {} pixels at ({}, {}) of a picture of {} x {}; remove it and "
            "run '{}'",
            path.native(), row, view, box.width, box.height, box.x, box.y, shard.width(row), shard.height(row),
            command));
      }
    }
  }
}

}  // namespace

CacheSet::CacheSet(const run::Context& context, FeaturePlace place, const data::Corpus& corpus,
                   shards::CacheBinding binding)
    : context_(context),
      place_(std::move(place)),
      corpus_(corpus),
      binding_(std::move(binding)),
      readers_(std::make_shared<data::OpenFiles<shards::FeatureCacheReader>>(
          std::min(kOpenCaches, std::max<std::size_t>(1, runtime::open_files_limit() / 8)),
          [this](std::uint32_t shard) { return open(shard); })) {
  if (context_.world.rank() == 0) require_complete();
}

void CacheSet::require_complete() const {
  std::filesystem::path first;
  int missing = 0;
  int caches = 0;
  for (const shards::Manifest::Shard& shard : corpus_.manifest().shards()) {
    if (!has_stored_features(shard)) continue;
    ++caches;
    const std::filesystem::path path = path_of(shard);
    // A file system that lags behind is given its time once.
    if (missing == 0 ? runtime::wait_until_there(path) : std::filesystem::exists(path)) continue;
    if (missing++ == 0) first = path;
  }
  if (missing == 0) return;
  throw runtime::DataError(fmt::format("{} of {} feature caches are missing, the first is {}: run '{}'", missing,
                                       caches, first.native(), place_.command));
}

std::shared_ptr<const shards::FeatureCacheReader> CacheSet::open(std::uint32_t shard) const {
  const shards::Manifest::Shard& entry = corpus_.manifest().shards(static_cast<int>(shard));
  const std::filesystem::path path = path_of(entry);
  runtime::wait_until_there(path);
  std::error_code missing;  // the reader says so
  const std::uintmax_t size = std::filesystem::file_size(path, missing);
  const data::Staging::File file{.path = path, .size = size, .hash = {}};
  auto opened =
      data::open_staged(missing ? nullptr : corpus_.staging(), file, readers_, shard, binding_, entry.samples());
  try {
    check_rows(*opened, *corpus_.shard(shard), path, views(), place_.command);
  } catch (const runtime::DataError&) {
    if (!opened->is_copy()) throw;
    corpus_.staging()->distrust(file);
    opened = std::make_shared<const shards::FeatureCacheReader>(path, binding_, entry.samples());
    check_rows(*opened, *corpus_.shard(shard), path, views(), place_.command);
  }
  return opened;
}

std::shared_ptr<const shards::FeatureCacheReader> CacheSet::of(std::uint32_t shard) const {
  auto reader = readers_->get(shard);
  if (corpus_.staging()) corpus_.staging()->count_read(reader->is_copy());
  return reader;
}

int CacheSet::audit(const data::SampleSet& samples, std::uint64_t step, const ViewEncoder& encoder, int rows) const {
  int compared = 0;
  const auto rank = static_cast<std::uint64_t>(context_.world.rank());
  const auto ranks = static_cast<std::uint64_t>(context_.world.size());
  runtime::Philox random(context_.config.run().seed(), data::kStreamCacheAudit, step * ranks + rank);
  for (int i = 0; i < rows; ++i) {
    const data::SampleRef sample = samples.at(random.bits64() % samples.size());
    const std::uint64_t view = random.bits64() % views();
    std::shared_ptr<const shards::ImageShardReader> shard;
    std::vector<std::byte> bytes;
    try {
      shard = corpus_.shard(sample.shard);
      bytes = data::read_picture(*shard, sample.row);
    } catch (const runtime::Error&) {
      continue;
    }
    const auto cache = of(sample.shard);
    if (!cache->has_features(sample.row)) continue;
    const at::Tensor pixels = batches::pixel_room(1, encoder.side, context_.communicator.device());
    data::render_view(bytes, view_of(cache->view(sample.row, view)), encoder.side,
                      batches::resize_mode(context_.config), batches::picture_in(pixels, 0));
    const at::Tensor found = encoder.encode(pixels).to(at::kFloat);
    const std::vector<std::uint16_t> bits = cache->pooled(sample.row, view);
    at::Tensor stored = at::empty({1, static_cast<std::int64_t>(bits.size())}, at::kHalf);
    std::memcpy(stored.data_ptr(), bits.data(), 2 * bits.size());
    stored = stored.to(at::kFloat);
    const double difference = (found - stored).norm().item<double>() / stored.norm().item<double>();
    if (difference <= kLargestDifference) {  // not so when it is NaN
      ++compared;
      continue;
    }
    const std::filesystem::path path = path_of(corpus_.manifest().shards(static_cast<int>(sample.shard)));
    throw runtime::DataError(
        fmt::format("{} row {}: the features of view {}, computed again with {}, differ by {:.0f} % from the stored "
                    "ones; remove it and run '{}'",
                    path.native(), sample.row, view, encoder.name, 100 * difference, place_.command));
  }
  return compared;
}

}  // namespace cskd::features

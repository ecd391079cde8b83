// Stored features of a corpus's shards: where trainings take a tower's features, or a teacher's answers, from.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>

#include "data/corpus.h"
#include "data/open_files.h"
#include "features/stored_features.h"
#include "run/context.h"
#include "shards/feature_cache/reader.h"

namespace cskd::features {

constexpr int kAuditedRows = 4;  // of each rank

class CacheSet {
 public:
  // `context` and `corpus` must outlive it.
  CacheSet(const run::Context& context, FeaturePlace place, const data::Corpus& corpus, shards::CacheBinding binding);

  // The cache of a shard; those that were used last are kept, up to kOpenCaches of them. Any thread. Throws as
  // FeatureCacheReader, and DataError that names file and row when the cache belongs to other pictures than the
  // shard's, or a view reaches beyond its picture.
  std::shared_ptr<const shards::FeatureCacheReader> of(std::uint32_t shard) const;

  std::uint64_t views() const { return binding_.view_count; }
  std::uint64_t width() const { return binding_.width; }

  // Note [Cache audit]
  // A binding is what a cache says of itself. So each start of a training has some random rows of `samples` computed
  // again, other rows on every rank and after every resume (`step`), and compares them with what is stored. The
  // features of another build, thread count or device differ by rounding, those of another network or decoder
  // altogether: kLargestDifference lies far from both. Damaged pictures are passed over: training meets them.
  //
  // Returns how many of `rows` it compared. Throws DataError that names file and row.
  int audit(const data::SampleSet& samples, std::uint64_t step, const ViewEncoder& encoder,
            int rows = kAuditedRows) const;

 private:
  void require_complete() const;
  std::filesystem::path path_of(const shards::Manifest::Shard& shard) const { return place_.folder / shard.file(); }
  std::shared_ptr<const shards::FeatureCacheReader> open(std::uint32_t shard) const;

  const run::Context& context_;
  FeaturePlace place_;
  const data::Corpus& corpus_;
  shards::CacheBinding binding_;
  std::shared_ptr<data::OpenFiles<shards::FeatureCacheReader>> readers_;
};

constexpr std::size_t kOpenCaches = 128;     // as data::kOpenShards, but each may take several megabytes
constexpr double kLargestDifference = 0.05;  // L2 norm of the difference over that of the stored features

}  // namespace cskd::features

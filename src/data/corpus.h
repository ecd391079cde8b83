// The samples of a manifest's shards, by number.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <vector>

#include "data/open_files.h"
#include "data/permutation.h"
#include "data/sample_order.h"
#include "data/staging.h"
#include "shards/image_shard/reader.h"
#include "shards/manifest.h"

namespace cskd::data {

struct SampleRef {
  std::uint32_t shard = 0;  // position in the manifest
  std::uint64_t row = 0;

  bool operator==(const SampleRef&) const = default;
};

// More than a window of the order reads from (Note [Order of an epoch]), few enough for the 1,024 files that a process
// may usually open. Each takes about half a megabyte.
constexpr std::size_t kOpenShards = 256;

class Corpus {
 public:
  // Reads the manifest in `folder`; shards are then read from copies, where `staging` has them. Throws as
  // read_manifest().
  explicit Corpus(std::filesystem::path folder, std::shared_ptr<Staging> staging = nullptr);
  Corpus(const Corpus&) = delete;
  Corpus& operator=(const Corpus&) = delete;

  const shards::Manifest& manifest() const noexcept { return manifest_; }
  const std::filesystem::path& folder() const noexcept { return folder_; }
  const std::shared_ptr<Staging>& staging() const noexcept { return staging_; }
  // The opened shard; those that were used last are kept, up to kOpenShards of them. Any thread. Throws as
  // ImageShardReader.
  std::shared_ptr<const shards::ImageShardReader> shard(std::uint32_t index) const;

 private:
  std::shared_ptr<const shards::ImageShardReader> open(std::uint32_t index) const;

  std::filesystem::path folder_;
  shards::Manifest manifest_;
  std::shared_ptr<Staging> staging_;  // may be empty
  std::shared_ptr<OpenFiles<shards::ImageShardReader>> readers_;
};

// Some samples of a corpus, numbered 0..size-1, those of a source together; needs memory for shards, not for samples.
class SampleSet {
 public:
  // All samples of the shards of a split, but for withdrawn rows.
  static SampleSet of_split(const Corpus& corpus, shards::Split split);

  // `count` samples (or, with `rest`, all but those), chosen by chance, from each source the same share. REQUIRES: this
  // set is a whole split; count <= size()
  SampleSet choose(std::uint64_t seed, std::uint32_t stream, std::uint64_t count, bool rest) const;
  // `count` of them, from number `first` on. REQUIRES: first + count <= size()
  SampleSet slice(std::uint64_t first, std::uint64_t count) const;
  // This set, then the other.
  SampleSet followed_by(const SampleSet& other) const;

  std::uint64_t size() const noexcept { return size_; }
  SampleRef at(std::uint64_t number) const;  // REQUIRES: number < size()

  // The samples of the same source, with the number itself among them.
  struct Range {
    std::uint64_t first = 0;
    std::uint64_t count = 0;
  };
  Range same_source(std::uint64_t number) const;  // REQUIRES: number < size()
  // The sources with their weights and shards, for SampleOrder, which numbers samples in the same way.
  std::vector<SampleGroup> groups() const;

 private:
  // Some samples of one source.
  struct Part {
    std::uint32_t source = 0;
    double weight = 1;
    std::vector<std::uint32_t> shards;
    std::vector<std::vector<std::uint32_t>> withdrawn;  // rows of each shard that are passed over, rising
    std::vector<std::uint64_t> ends;                    // samples of shards[0..i] together
    std::optional<Permutation> order;                   // of all of them
    std::uint64_t first = 0;                            // of those that the set has, in `order` or as they lie
    std::uint64_t count = 0;
  };

  std::vector<Part> parts_;
  std::uint64_t size_ = 0;
};

// The training pictures whose labels may be used, and those without labels (all unlabelled ones and the other training
// pictures): labels.fraction of a configuration. At least one label is kept when there is any.
struct TrainingSets {
  SampleSet labelled;
  SampleSet unlabelled;
};
TrainingSets training_sets(const Corpus& corpus, double label_fraction, std::uint64_t seed);

}  // namespace cskd::data

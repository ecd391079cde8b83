// The encoded pictures of a sample set, each read and checked; one that is damaged is replaced.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>

#include "data/corpus.h"
#include "data/damage.h"

namespace cskd::data {

// Note [Stand-ins]
// A disk that loses a block must not end a run of weeks, nor may it make ranks differ. So a sample that cannot be read
// is replaced by another one of its source and set, and that, if need be, by a third: which ones is a function of the
// seed, the sample's number in its set and how often this was tried, so that every rank, every resume and every number
// of ranks finds the same. What is made of the sample (its view, its label, its features) is then that of the stand-in.
class SampleSource {
 public:
  struct Sample {
    std::uint64_t number = 0;  // in the set
    SampleRef ref;
    const shards::ImageShardReader& shard;
    std::span<const std::byte> bytes;  // the encoded picture
  };
  using Use = std::function<void(const Sample&)>;

  // Both must outlive it.
  SampleSource(const Corpus& corpus, std::uint64_t seed, DamageLog& damage)
      : corpus_(corpus), seed_(seed), damage_(damage) {}

  // Calls use(sample) for sample `number` of the set or, when it cannot be read or use() throws DataError, for a
  // stand-in. Any thread. Throws as DamageLog, and DataError when kTries samples are damaged.
  void with_sample(const SampleSet& set, std::uint64_t number, const Use& use) const;

  // Calls use(sample) for this very sample, which has no number; false, after damage was counted, when that cannot be.
  bool try_sample(const SampleRef& sample, const Use& use) const;

  // with_sample() will come for this one soon.
  void will_use(const SampleSet& set, std::uint64_t number) const;

  static constexpr int kTries = 32;

 private:
  bool attempt(const SampleRef& ref, std::uint64_t number, const Use& use, const char* remedy) const;

  const Corpus& corpus_;
  std::uint64_t seed_;
  DamageLog& damage_;
};

// Reads a sample's picture. Throws DataError when its CRC is not that of the shard, or its header tells another size
// than the shard; Error when the file cannot be read.
std::vector<std::byte> read_picture(const shards::ImageShardReader& shard, std::uint64_t row);

}  // namespace cskd::data

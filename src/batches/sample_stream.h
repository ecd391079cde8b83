// A training's pictures of one kind, in the order of epochs, as parts of micro-batches.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "batches/batches.h"
#include "data/sample_order.h"
#include "data/sampler.h"

namespace cskd::batches {

class SampleStream {
 public:
  // `order_stream`: the stream of random numbers that the order of epochs is drawn from. Throws UsageError when a step
  // takes more pictures, `batch` as `key` says, than an epoch has.
  SampleStream(const run::Context& context, const CheckedCorpus& corpus, data::SampleSet samples,
               std::uint32_t order_stream, const std::string& key, std::uint64_t batch);

  const data::SampleSet& samples() const noexcept { return samples_; }

  // The stream's part of a micro-batch.
  struct Part {
    std::uint64_t position = 0;         // of its first sample in the stream
    std::vector<data::SampleUse> uses;  // as the order says
    std::vector<data::SampleRef> refs;  // those that were read: others stand in for damaged ones
    // Of a sample; what random views are drawn by.
    std::uint64_t number(std::uint64_t item) const { return position + item; }
  };
  // The samples from `position` on; they begin to be fetched.
  Part begin(std::uint64_t position, std::uint64_t count) const;

  // Calls take(sample, use) for the sample `item` of the part. Any thread; different items at the same time.
  template <typename Take>
  void read(Part& part, std::uint64_t item, const Take& take) const {
    const data::SampleUse& use = part.uses[item];
    corpus_.source().with_sample(samples_, use.sample, [&](const data::SampleSource::Sample& sample) {
      part.refs[item] = sample.ref;
      take(sample, use);
    });
  }

 private:
  const CheckedCorpus& corpus_;
  data::SampleSet samples_;
  data::SampleOrder order_;
};

}  // namespace cskd::batches

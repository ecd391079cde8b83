#include "batches/sample_stream.h"

namespace cskd::batches {

SampleStream::SampleStream(const run::Context& context, const CheckedCorpus& corpus, data::SampleSet samples,
                           std::uint32_t order_stream, const std::string& key, std::uint64_t batch)
    : corpus_(corpus),
      samples_(std::move(samples)),
      order_(context.config.run().seed(), order_stream, samples_.groups(), context.config.data().shuffle_window()) {
  data::require_batch(order_, key, batch);
}

SampleStream::Part SampleStream::begin(std::uint64_t position, std::uint64_t count) const {
  Part part{.position = position, .uses = order_.at(position, count), .refs = std::vector<data::SampleRef>(count)};
  for (const data::SampleUse& use : part.uses) corpus_.source().will_use(samples_, use.sample);
  return part;
}

}  // namespace cskd::batches

// Tensors from samples of a corpus: what the stages have in common.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include "config/config.pb.h"
#include "data/corpus.h"
#include "data/damage.h"
#include "data/loader.h"
#include "data/resize.h"
#include "data/sample_source.h"
#include "run/context.h"
#include "runtime/trace.h"

namespace cskd::batches {

// The run's corpus, and what becomes of its damaged samples.
class CheckedCorpus {
 public:
  // Reads the manifest. Throws as data::Corpus.
  explicit CheckedCorpus(const run::Context& context);

  const data::Corpus& corpus() const noexcept { return corpus_; }
  const data::SampleSource& source() const noexcept { return source_; }
  std::uint64_t damaged() const noexcept { return damage_.damaged(); }  // uses of damaged samples so far, on this rank
  // For samples that are read, while it lives, apart from the run's own uses.
  data::DamageLog::Uncounted uncounted() const { return data::DamageLog::Uncounted(damage_); }

 private:
  data::Corpus corpus_;
  mutable data::DamageLog damage_;
  data::SampleSource source_;
};

// Where samples lie, for messages: shards and rows of the first ones.
std::string samples_text(const data::Corpus& corpus, const std::vector<data::SampleRef>& samples);

// As data.resize of a configuration says.
data::ResizeMode resize_mode(const config::Config& config);

// Room for pictures [n, side, side, 3], uint8, on the CPU; pinned when they go to a GPU, so that they are copied while
// it computes.
at::Tensor pixel_room(std::uint64_t pictures, int side, const at::Device& device);
// Picture `i` of such a room.
std::span<std::uint8_t> picture_in(const at::Tensor& pixels, std::uint64_t i);

// Without waiting, where the memory is pinned.
at::Tensor to_device(const at::Tensor& tensor, const at::Device& device);

// Row `i` of a contiguous matrix [n, K] on the CPU.
std::span<float> row_of(const at::Tensor& matrix, std::uint64_t i);

// A loader on the context's threads that holds as many batches of `batch_bytes` as compute.prefetch allows.
template <typename Batch>
std::unique_ptr<data::Loader<Batch>> make_loader(const run::Context& context, std::uint64_t batch_bytes,
                                                 std::uint64_t first, std::uint64_t end,
                                                 data::BatchMaker<Batch> maker) {
  const std::uint64_t depth =
      data::prefetch_depth(std::uint64_t{context.config.compute().prefetch()} << 20, batch_bytes);
  if (runtime::Trace* const trace = context.trace) {
    maker.made = [trace](std::uint64_t ticket, runtime::Trace::Time begun) {
      trace->add("loader", "batch " + std::to_string(ticket), begun, std::chrono::steady_clock::now(), {},
                 runtime::Trace::Track::kOverlapping);
    };
  }
  return std::make_unique<data::Loader<Batch>>(context.loader_threads, depth, first, end, std::move(maker));
}

// Bytes of pixel_room().
std::uint64_t pixel_bytes(std::uint64_t pictures, int side);

// The scale that the labels of a source are on.
struct RatedScale {
  std::string source;
  std::vector<float> bin_centres;
};

// Bin centres of all. Throws UsageError when there are none, or sources differ: both are named, and the remedy.
std::vector<double> common_scale(const std::vector<RatedScale>& scales);

// Of the corpus's labels, as common_scale().
std::vector<double> bin_centres(const data::Corpus& corpus);

}  // namespace cskd::batches

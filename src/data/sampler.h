// Which sample a training step uses: pure functions of (seed, stream, position), the same on every rank and after any
// resume.
//
// Note [Virtual ranks]
// A global batch is cut into a fixed number of micro-batches. The micro-batch, not the process, is the unit of
// computation: rank r of n takes micro-batches [r * M / n, (r + 1) * M / n) of every step. Position p of a stream is
// step * global_batch + micro_batch * samples + i, whatever the number of ranks.
#pragma once

#include <cstdint>
#include <vector>

namespace cskd::data {

// Numbers of Philox streams, one for each purpose; never reused.
enum RandomStream : std::uint32_t {
  kStreamLabelChoice = 100,
  kStreamUnlabelledOrder = 101,
  kStreamLabelledOrder = 102,
  kStreamAlignOrder = 103,
  kStreamStoredViews = 110,
  kStreamWeakViews = 111,
  kStreamStrongViews = 112,
  kStreamCacheAudit = 113,
  kStreamModel = 120,
};

// An endless sequence over `size` samples: each epoch holds each sample once, in an order of its own.
class SampleOrder {
 public:
  // REQUIRES: size >= 1
  SampleOrder(std::uint64_t seed, std::uint32_t stream, std::uint64_t size)
      : seed_(seed), stream_(stream), size_(size) {}

  std::uint64_t size() const noexcept { return size_; }
  std::uint64_t epoch(std::uint64_t position) const noexcept { return position / size_; }
  // The sample at a position of the sequence.
  std::uint64_t operator()(std::uint64_t position) const;
  // The samples at `count` consecutive positions.
  std::vector<std::uint64_t> at(std::uint64_t position, std::uint64_t count) const;

 private:
  std::uint64_t seed_;
  std::uint32_t stream_;
  std::uint64_t size_;
};

// How a rank takes its part of a global batch.
struct BatchLayout {
  std::uint64_t global_batch = 0;
  std::uint64_t micro_batches = 1;  // of all ranks
  std::uint64_t rank = 0;
  std::uint64_t ranks = 1;

  std::uint64_t samples() const { return global_batch / micro_batches; }  // of a micro-batch
  std::uint64_t own() const { return micro_batches / ranks; }             // micro-batches of this rank in a step
  std::uint64_t first() const { return rank * own(); }
  // Position in a stream of the first sample of micro-batch `own_index` of this rank in `step`.
  std::uint64_t position(std::uint64_t step, std::uint64_t own_index) const {
    return step * global_batch + (first() + own_index) * samples();
  }
};

// Throws UsageError, with what would fit, unless ranks divide micro_batches and micro_batches divide global_batch.
// `table` names the configuration's table in the message, e.g. "align.training".
BatchLayout make_batch_layout(const char* table, std::uint64_t global_batch, std::uint64_t micro_batches, int rank,
                              int ranks);

}  // namespace cskd::data

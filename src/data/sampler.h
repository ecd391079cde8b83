// The positions of the sequences of samples (data/sample_order.h) that a rank takes.
//
// Note [Virtual ranks]
// A global batch is cut into a fixed number of micro-batches. The micro-batch, not the process, is the unit of
// computation: rank r of n takes micro-batches [r * M / n, (r + 1) * M / n) of every step. Position p of a stream is
// step * global_batch + micro_batch * samples + i, whatever the number of ranks.
#pragma once

#include <cstdint>
#include <string>

#include "data/sample_order.h"

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
  kStreamStandIns = 114,
  kStreamMixUp = 115,
  kStreamMixedShares = 116,
  kStreamMixedPartners = 117,
  kStreamModel = 120,
  kStreamSweepResamples = 130,
  kStreamAnalysedPictures = 140,
  kStreamProbeResamples = 141,
  kStreamCalibrationPictures = 142,
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

// Throws UsageError, with the remedies, when a batch of `key` would hold samples twice because the order has fewer.
void require_batch(const SampleOrder& order, const std::string& key, std::uint64_t batch);

}  // namespace cskd::data

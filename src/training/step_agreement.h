// The exchange between ranks, once a step, of what is not a gradient.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include <ATen/core/Tensor.h>

#include "distributed/communicator.h"
#include "distributed/sum_tree.h"
#include "training/step_totals.h"
#include "training/task.h"

namespace cskd::training {

// Note [One all-reduce besides gradients]
// Ranks agree on BatchNorm's running statistics and on the figures of the step. All of it is known after the last
// forward pass, and travels in one tensor while the last backward pass goes on. Every micro-batch begins with the
// statistics that the step began with, and the step ends with these plus the mean of what the micro-batches changed:
// statistics are updated once a step, whatever the number of ranks. Sums go the way of Note [Sum tree].
class StepAgreement {
 public:
  // Gives `statistics` memory side by side, so before anyone keeps views of them. All must outlive it.
  // `micro_batches` of this rank, and of all.
  StepAgreement(const NamedTensors& statistics, distributed::Communicator& communicator,
                std::uint64_t own_micro_batches, std::uint64_t micro_batches, bool elastic);

  void start_step();
  void start_micro_batch();
  // Its forward pass is done. After the last micro-batch of the step this starts the exchange. Does not wait for a
  // device.
  void finish_forward(const MicroBatchTotals& totals);
  // What the whole step gave.
  struct Result {
    StepTotals totals;
    std::vector<double> bucket_norms;
    bool any_stops = false;
  };
  // After the last backward pass: waits for the exchange and updates the statistics. `stops`: this rank wishes to stop,
  // a message of its own, since that may become true up to the last moment. `bucket_norms`: float32 [n] of this rank's
  // gradients, read along with the rest, so that a step waits for its device once. Collective.
  Result finish_step(bool stops, const at::Tensor& bucket_norms);
  // The step is left out: the statistics are those that it began with. After finish_step().
  void undo_step();
  // Calls `use` while the statistics are those that the step began with. After finish_step().
  void before_step(const std::function<void()>& use);

 private:
  distributed::Communicator& communicator_;
  const std::uint64_t own_micro_batches_;
  const std::uint64_t micro_batches_;
  const bool elastic_;
  at::Tensor statistics_;  // [n] float32, of all; each tensor is a view of it
  at::Tensor counters_;    // [m] int64, of all: BatchNorm's num_batches_tracked
  at::Tensor statistics_before_;
  at::Tensor counters_before_;
  distributed::TreeSum sum_;
  StepTotalsLayout layout_;  // once the first micro-batch has come
  at::Tensor sums_;          // [n + layout_.size()] float32, what travels, with these parts:
  at::Tensor changes_;       // of statistics
  at::Tensor totals_;
  at::Tensor flag_;  // [1]
  std::unique_ptr<distributed::Work> work_;
};

}  // namespace cskd::training

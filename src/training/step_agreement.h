// What ranks agree on once a step besides gradients.
#pragma once

#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

#include "distributed/communicator.h"
#include "distributed/sum_tree.h"
#include "training/stage.h"

namespace cskd::training {

// Note [One small all-reduce]
// Ranks agree on BatchNorm's running statistics, on the figures of the step, and on whether a signal came. All travel
// in one tensor. Every micro-batch begins with the statistics that the step began with, and the step ends with these
// plus the mean of what the micro-batches changed: statistics are updated once a step, whatever the number of ranks.
// Sums go the way of Note [Sum tree].
class StepAgreement {
 public:
  // Gives `statistics` memory side by side, so before anyone keeps views of them. All must outlive it.
  // `micro_batches` of this rank, and of all.
  StepAgreement(const NamedTensors& statistics, distributed::Communicator& communicator,
                std::uint64_t own_micro_batches, std::uint64_t micro_batches, bool elastic);

  void start_step();
  void start_micro_batch();
  // `figures`: of the micro-batch, the same number every time.
  void finish_micro_batch(const std::vector<double>& figures);
  // Sums of the figures over all micro-batches, then sums of `extras` over ranks; statistics are updated.
  std::vector<double> finish_step(const std::vector<double>& extras);

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
  at::Tensor last_;
};

}  // namespace cskd::training

// The totals of a step over the micro-batches of all ranks, and their layout in the tensor that is reduced.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>

#include "training/task.h"

namespace cskd::training {

// What one micro-batch adds to a step. Tensors are float32 scalars without a graph.
struct MicroBatchTotals {
  at::Tensor loss;
  NamedTensors figures;  // the same names for every micro-batch of a training
  std::int64_t images = 0;
  std::uint64_t damaged = 0;  // uses of damaged samples on its rank, from its start on; 0 but in the rank's last one
};

// What all of them gave.
struct StepTotals {
  double loss = 0;                                      // mean over micro-batches
  std::vector<std::pair<std::string, double>> figures;  // means, in the order of MicroBatchTotals::figures
  std::int64_t images = 0;                              // sums
  std::uint64_t damaged = 0;

  // Whether loss and figures are numbers.
  bool is_finite() const;
};

// The only place that knows where each total lies: [loss, figures..., images, damaged], float32.
class StepTotalsLayout {
 public:
  StepTotalsLayout() = default;
  explicit StepTotalsLayout(const MicroBatchTotals& first);

  std::int64_t size() const noexcept { return kLoss + figures() + kCounts; }
  // Into `room` [size()], on any device. Does not wait for it. REQUIRES: figures named as those of the first
  void write(const MicroBatchTotals& totals, const at::Tensor& room) const;
  // Of `sums` [size()] on the CPU, contiguous: the sums of what `micro_batches` of them wrote.
  StepTotals read(const at::Tensor& sums, std::uint64_t micro_batches) const;

 private:
  static constexpr std::int64_t kLoss = 1;
  static constexpr std::int64_t kCounts = 2;

  std::int64_t figures() const noexcept { return static_cast<std::int64_t>(names_.size()); }

  std::vector<std::string> names_;  // of the figures
};

}  // namespace cskd::training

#include "training/step_totals.h"

#include <algorithm>
#include <cmath>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "runtime/check.h"

namespace cskd::training {

bool StepTotals::is_finite() const {
  return std::isfinite(loss) &&
         std::ranges::all_of(figures, [](const auto& figure) { return std::isfinite(figure.second); });
}

StepTotalsLayout::StepTotalsLayout(const MicroBatchTotals& first) {
  for (const auto& [name, tensor] : first.figures) names_.push_back(name);
}

void StepTotalsLayout::write(const MicroBatchTotals& totals, const at::Tensor& room) const {
  const at::NoGradGuard no_gradients;
  CSKD_CHECK(std::ranges::equal(totals.figures, names_, {}, [](const auto& figure) { return figure.first; }),
             "a micro-batch has other figures than the first, which has {}", names_.size());
  std::vector<at::Tensor> means{totals.loss};
  for (const auto& [name, tensor] : totals.figures) means.push_back(tensor);
  at::Tensor means_room = room.narrow(0, 0, kLoss + figures());
  at::stack_out(means_room, means);
  const at::Tensor counts_room = room.narrow(0, kLoss + figures(), kCounts);
  // Pinned, so that nobody waits for a GPU; its memory is kept until it was copied.
  const bool on_gpu = room.is_cuda();
  const at::Tensor counts = at::empty({kCounts}, at::TensorOptions(at::kFloat).pinned_memory(on_gpu));
  float* const numbers = counts.mutable_data_ptr<float>();
  numbers[0] = static_cast<float>(totals.images);
  numbers[1] = static_cast<float>(totals.damaged);
  counts_room.copy_(counts, /*non_blocking=*/on_gpu);
}

StepTotals StepTotalsLayout::read(const at::Tensor& sums, std::uint64_t micro_batches) const {
  CSKD_CHECK(sums.numel() == size() && sums.is_contiguous(), "{} totals instead of {}", sums.numel(), size());
  const float* const numbers = sums.const_data_ptr<float>();
  const double share = 1.0 / static_cast<double>(micro_batches);
  StepTotals totals{.loss = static_cast<double>(numbers[0]) * share, .figures = {}};
  for (std::size_t i = 0; i < names_.size(); ++i)
    totals.figures.emplace_back(names_[i], static_cast<double>(numbers[kLoss + i]) * share);
  const float* const counts = numbers + kLoss + figures();
  totals.images = std::llround(counts[0]);
  totals.damaged = static_cast<std::uint64_t>(std::llround(counts[1]));
  return totals;
}

}  // namespace cskd::training

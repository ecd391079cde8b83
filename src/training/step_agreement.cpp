#include "training/step_agreement.h"

#include <algorithm>
#include <array>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "runtime/check.h"

namespace cskd::training {

namespace {

// Moves the tensors of this type into one, of which they become views.
at::Tensor side_by_side(const NamedTensors& tensors, at::ScalarType type, const at::Device& device) {
  const at::NoGradGuard no_gradients;
  std::int64_t numbers = 0;
  for (const auto& [name, tensor] : tensors) {
    if (tensor.scalar_type() == type) numbers += tensor.numel();
  }
  at::Tensor all = at::empty({numbers}, at::TensorOptions(device).dtype(type));
  std::int64_t at = 0;
  for (const auto& [name, tensor] : tensors) {
    CSKD_CHECK(tensor.scalar_type() == at::kFloat || tensor.scalar_type() == at::kLong, "{} is {}", name,
               at::toString(tensor.scalar_type()));
    if (tensor.scalar_type() != type) continue;
    const at::Tensor room = all.narrow(0, at, tensor.numel()).view(tensor.sizes());
    room.copy_(tensor);
    at::Tensor(tensor).set_(room);
    at += tensor.numel();
  }
  return all;
}

}  // namespace

StepAgreement::StepAgreement(const NamedTensors& statistics, distributed::Communicator& communicator,
                             std::uint64_t own_micro_batches, std::uint64_t micro_batches, bool elastic)
    : communicator_(communicator),
      own_micro_batches_(own_micro_batches),
      micro_batches_(micro_batches),
      elastic_(elastic),
      statistics_(side_by_side(statistics, at::kFloat, communicator.device())),
      counters_(side_by_side(statistics, at::kLong, communicator.device())),
      statistics_before_(at::empty_like(statistics_)),
      counters_before_(at::empty_like(counters_)),
      sum_(own_micro_batches),
      flag_(communicator.allocate(1, at::kFloat)) {}

void StepAgreement::start_step() {
  const at::NoGradGuard no_gradients;
  statistics_before_.copy_(statistics_);
  counters_before_.copy_(counters_);
}

void StepAgreement::start_micro_batch() {
  if (sum_.count() == 0) return;
  const at::NoGradGuard no_gradients;
  statistics_.copy_(statistics_before_);
  counters_.copy_(counters_before_);
}

void StepAgreement::finish_forward(const std::vector<at::Tensor>& figures, const std::vector<double>& counts) {
  const at::NoGradGuard no_gradients;
  if (!sums_.defined()) {
    const auto sizes = std::to_array<std::int64_t>(
        {statistics_.numel(), static_cast<std::int64_t>(figures.size()), static_cast<std::int64_t>(counts.size())});
    sums_ = communicator_.allocate(sizes[0] + sizes[1] + sizes[2], at::kFloat);
    changes_ = sums_.narrow(0, 0, sizes[0]);
    figures_ = sums_.narrow(0, sizes[0], sizes[1]);
    counts_ = sums_.narrow(0, sizes[0] + sizes[1], sizes[2]);
  }
  at::sub_out(changes_, statistics_, statistics_before_);
  at::stack_out(figures_, figures);
  // Pinned, so that nobody waits for a GPU; its memory is kept until it was copied.
  const bool on_gpu = counts_.is_cuda();
  const at::Tensor sent = at::empty(counts_.sizes(), at::TensorOptions(at::kFloat).pinned_memory(on_gpu));
  std::ranges::transform(counts, sent.mutable_data_ptr<float>(),
                         [](double count) { return static_cast<float>(count); });
  counts_.copy_(sent, /*non_blocking=*/on_gpu);
  if (sum_.count() + 1 < own_micro_batches_) {
    sum_.add(sums_.clone());
    return;
  }
  sum_.finish(sums_);
  work_ = communicator_.start_all_reduce(
      sums_, elastic_ ? distributed::Reduction::kTreeSum : distributed::Reduction::kSum, "statistics and figures");
}

StepAgreement::Result StepAgreement::finish_step(bool stops, const at::Tensor& extra) {
  CSKD_CHECK(work_ != nullptr, "not all micro-batches are there");
  const at::NoGradGuard no_gradients;
  flag_.fill_(stops ? 1.0 : 0.0);
  communicator_.all_reduce(flag_, distributed::Reduction::kMax, "stop");
  work_->wait();
  work_.reset();
  const double share = 1.0 / static_cast<double>(micro_batches_);
  at::add_out(statistics_, statistics_before_, changes_, share);
  const auto part = [](const at::Tensor& read, std::int64_t from, std::int64_t count) {
    const float* numbers = read.const_data_ptr<float>() + from;
    return std::vector<double>(numbers, numbers + count);
  };
  const std::int64_t agreed = sums_.numel() - changes_.numel();
  const at::Tensor read = at::cat({sums_.narrow(0, changes_.numel(), agreed), extra, flag_}).to(at::kCPU);
  Result result{.figures = part(read, 0, agreed),
                .extra = part(read, agreed, extra.numel()),
                .any_stops = part(read, agreed + extra.numel(), 1).front() > 0};
  for (std::int64_t i = 0; i < figures_.numel(); ++i) result.figures[static_cast<std::size_t>(i)] *= share;
  return result;
}

void StepAgreement::undo_step() {
  const at::NoGradGuard no_gradients;
  statistics_.copy_(statistics_before_);
  counters_.copy_(counters_before_);
}

}  // namespace cskd::training

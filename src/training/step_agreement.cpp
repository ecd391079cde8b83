#include "training/step_agreement.h"

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

void StepAgreement::finish_forward(const MicroBatchTotals& totals) {
  const at::NoGradGuard no_gradients;
  if (!sums_.defined()) {
    layout_ = StepTotalsLayout(totals);
    sums_ = communicator_.allocate(statistics_.numel() + layout_.size(), at::kFloat);
    changes_ = sums_.narrow(0, 0, statistics_.numel());
    totals_ = sums_.narrow(0, statistics_.numel(), layout_.size());
  }
  at::sub_out(changes_, statistics_, statistics_before_);
  layout_.write(totals, totals_);
  if (sum_.count() + 1 < own_micro_batches_) {
    sum_.add(sums_.clone());
    return;
  }
  sum_.finish(sums_);
  work_ = communicator_.start_all_reduce(
      sums_, elastic_ ? distributed::Reduction::kTreeSum : distributed::Reduction::kSum, "statistics and figures");
}

StepAgreement::Result StepAgreement::finish_step(bool stops, const at::Tensor& bucket_norms) {
  CSKD_CHECK(work_ != nullptr, "not all micro-batches are there");
  const at::NoGradGuard no_gradients;
  flag_.fill_(stops ? 1.0 : 0.0);
  communicator_.all_reduce(flag_, distributed::Reduction::kMax, "stop");
  work_->wait();
  work_.reset();
  at::add_out(statistics_, statistics_before_, changes_, 1.0 / static_cast<double>(micro_batches_));
  const at::Tensor read = at::cat({totals_, bucket_norms, flag_}).to(at::kCPU);
  const at::Tensor norms = read.narrow(0, totals_.numel(), bucket_norms.numel());
  const float* const norm = norms.const_data_ptr<float>();
  return {.totals = layout_.read(read.narrow(0, 0, totals_.numel()), micro_batches_),
          .bucket_norms = {norm, norm + norms.numel()},
          .any_stops = read[-1].item<float>() > 0};
}

void StepAgreement::undo_step() {
  const at::NoGradGuard no_gradients;
  statistics_.copy_(statistics_before_);
  counters_.copy_(counters_before_);
}

void StepAgreement::before_step(const std::function<void()>& use) {
  const at::NoGradGuard no_gradients;
  const at::Tensor statistics = statistics_.clone();
  const at::Tensor counters = counters_.clone();
  undo_step();
  use();
  statistics_.copy_(statistics);
  counters_.copy_(counters);
}

}  // namespace cskd::training

#include "training/step_agreement.h"

#include <ATen/ATen.h>

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
  const at::Tensor all = at::empty({numbers}, at::TensorOptions(device).dtype(type));
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
      sum_(own_micro_batches) {}

void StepAgreement::start_step() {
  statistics_before_ = statistics_.clone();
  counters_before_ = counters_.clone();
}

void StepAgreement::start_micro_batch() {
  const at::NoGradGuard no_gradients;
  statistics_.copy_(statistics_before_);
  counters_.copy_(counters_before_);
}

void StepAgreement::finish_micro_batch(const std::vector<double>& figures) {
  const at::NoGradGuard no_gradients;
  at::Tensor leaf = at::cat({statistics_ - statistics_before_,
                             at::tensor(at::ArrayRef<double>(figures)).to(at::kFloat).to(communicator_.device())});
  if (sum_.count() + 1 < own_micro_batches_) {
    sum_.add(std::move(leaf));
  } else {
    sum_.finish(leaf);
    last_ = std::move(leaf);
  }
}

std::vector<double> StepAgreement::finish_step(const std::vector<double>& extras) {
  CSKD_CHECK(last_.defined(), "a step without micro-batches");
  const at::NoGradGuard no_gradients;
  const at::Tensor all =
      at::cat({last_, at::tensor(at::ArrayRef<double>(extras)).to(at::kFloat).to(communicator_.device())});
  last_ = at::Tensor();
  communicator_.all_reduce(all, elastic_ ? distributed::Reduction::kTreeSum : distributed::Reduction::kSum,
                           "statistics and figures");
  const std::int64_t at = statistics_.numel();
  statistics_.copy_(statistics_before_ + all.narrow(0, 0, at).div(static_cast<double>(micro_batches_)));
  const at::Tensor sums = all.narrow(0, at, all.numel() - at).to(at::kCPU, at::kDouble).contiguous();
  return {sums.data_ptr<double>(), sums.data_ptr<double>() + sums.numel()};
}

}  // namespace cskd::training

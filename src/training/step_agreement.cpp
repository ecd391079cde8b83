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
      sum_(own_micro_batches),
      flag_(communicator.allocate(1, at::kFloat)) {}

void StepAgreement::start_step() {
  statistics_before_ = statistics_.clone();
  counters_before_ = counters_.clone();
}

void StepAgreement::start_micro_batch() {
  const at::NoGradGuard no_gradients;
  statistics_.copy_(statistics_before_);
  counters_.copy_(counters_before_);
}

void StepAgreement::finish_forward(const std::vector<at::Tensor>& figures) {
  const at::NoGradGuard no_gradients;
  figures_ = static_cast<std::int64_t>(figures.size());
  at::Tensor leaf = at::cat({statistics_ - statistics_before_, at::stack(figures).to(at::kFloat)});
  if (sum_.count() + 1 < own_micro_batches_) {
    sum_.add(std::move(leaf));
  } else {
    sum_.finish(leaf);
    own_ = std::move(leaf);
  }
}

void StepAgreement::send(const std::vector<double>& counts) {
  CSKD_CHECK(own_.defined(), "not all micro-batches are there");
  const at::NoGradGuard no_gradients;
  const at::Tensor last = at::tensor(at::ArrayRef<double>(counts)).to(at::kFloat).to(communicator_.device());
  if (!all_.defined()) all_ = communicator_.allocate(own_.numel() + last.numel(), at::kFloat);
  at::cat_out(all_, {own_, last});
  own_ = at::Tensor();
  work_ = communicator_.start_all_reduce(
      all_, elastic_ ? distributed::Reduction::kTreeSum : distributed::Reduction::kSum, "statistics and figures");
}

std::vector<double> StepAgreement::finish_step() {
  CSKD_CHECK(work_ != nullptr, "nothing was sent");
  const at::NoGradGuard no_gradients;
  work_->wait();
  work_.reset();
  const std::int64_t at = statistics_.numel();
  const auto micro_batches = static_cast<double>(micro_batches_);
  at::add_out(statistics_, statistics_before_, all_.narrow(0, 0, at).div_(micro_batches));
  const at::Tensor rest = all_.narrow(0, at, all_.numel() - at).to(at::kCPU, at::kDouble).contiguous();
  std::vector<double> numbers(rest.const_data_ptr<double>(), rest.const_data_ptr<double>() + rest.numel());
  for (std::int64_t i = 0; i < figures_; ++i) numbers[static_cast<std::size_t>(i)] /= micro_batches;
  return numbers;
}

bool StepAgreement::on_any(bool holds) {
  flag_.fill_(holds ? 1.0 : 0.0);
  communicator_.all_reduce(flag_, distributed::Reduction::kMax, "stop");
  return flag_.item<float>() > 0;
}

}  // namespace cskd::training

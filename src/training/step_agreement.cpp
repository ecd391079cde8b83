#include "training/step_agreement.h"

#include <set>
#include <string>

#include <ATen/ATen.h>

#include "runtime/check.h"

namespace cskd::training {

StepAgreement::StepAgreement(const NamedTensors& state, const NamedTensors& trainable,
                             distributed::Communicator& communicator, std::uint64_t own_micro_batches,
                             std::uint64_t micro_batches, bool elastic)
    : communicator_(communicator),
      own_micro_batches_(own_micro_batches),
      micro_batches_(micro_batches),
      elastic_(elastic),
      sum_(own_micro_batches) {
  std::set<std::string> parameters;
  for (const auto& [name, tensor] : trainable) parameters.insert(name);
  for (const auto& [name, tensor] : state) {
    if (parameters.contains(name)) continue;
    (tensor.is_floating_point() ? statistics_ : counters_).push_back(tensor.detach());
  }
}

void StepAgreement::start_step() {
  statistics_before_.clear();
  counters_before_.clear();
  for (const at::Tensor& statistic : statistics_) statistics_before_.push_back(statistic.clone());
  for (const at::Tensor& counter : counters_) counters_before_.push_back(counter.clone());
}

void StepAgreement::start_micro_batch() {
  const at::NoGradGuard no_gradients;
  for (std::size_t i = 0; i < statistics_.size(); ++i) statistics_[i].copy_(statistics_before_[i]);
  for (std::size_t i = 0; i < counters_.size(); ++i) counters_[i].copy_(counters_before_[i]);
}

void StepAgreement::finish_micro_batch(const std::vector<double>& figures) {
  const at::NoGradGuard no_gradients;
  std::vector<at::Tensor> parts;
  for (std::size_t i = 0; i < statistics_.size(); ++i)
    parts.push_back((statistics_[i] - statistics_before_[i]).reshape({-1}).to(at::kFloat));
  parts.push_back(at::tensor(at::ArrayRef<double>(figures)).to(at::kFloat).to(communicator_.device()));
  at::Tensor leaf = at::cat(parts);
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
  std::int64_t at = 0;
  for (std::size_t i = 0; i < statistics_.size(); ++i) {
    const at::Tensor& statistic = statistics_[i];
    const at::Tensor change =
        all.narrow(0, at, statistic.numel()).view(statistic.sizes()).div(static_cast<double>(micro_batches_));
    statistic.copy_(statistics_before_[i] + change);
    at += statistic.numel();
  }
  const at::Tensor sums = all.narrow(0, at, all.numel() - at).to(at::kCPU, at::kDouble).contiguous();
  return {sums.data_ptr<double>(), sums.data_ptr<double>() + sums.numel()};
}

}  // namespace cskd::training

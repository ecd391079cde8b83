#include "optim/adamw.h"

#include <algorithm>
#include <optional>
#include <utility>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

namespace cskd::optim {

AdamW::AdamW(const NamedTensors& parameters, Options options) : options_(std::move(options)) {
  for (const auto& [name, parameter] : parameters) {
    const double weight_decay = parameter.dim() > 1 ? options_.weight_decay : 0;
    const double rate = options_.rate ? options_.rate(name) : 1;
    auto same = std::ranges::find_if(
        groups_, [&](const Group& group) { return group.weight_decay == weight_decay && group.rate == rate; });
    if (same == groups_.end()) {
      groups_.push_back({.weight_decay = weight_decay, .rate = rate});
      same = groups_.end() - 1;
    }
    Group& group = *same;
    const at::TensorOptions plain = parameter.options().requires_grad(false);
    if (!step_.defined()) step_ = at::zeros({1}, plain.dtype(at::kFloat));
    group.names.push_back(name);
    group.parameters.push_back(parameter);
    group.exp_avg.push_back(at::zeros_like(parameter, plain));
    group.exp_avg_sq.push_back(at::zeros_like(parameter, plain));
    group.steps.push_back(step_);
  }
}

void AdamW::step(double learning_rate) {
  const c10::AutoGradMode no_gradients(false);
  step_.add_(1);
  for (Group& group : groups_) {
    std::vector<at::Tensor> gradients;
    for (const at::Tensor& parameter : group.parameters) gradients.push_back(parameter.grad());
    at::_fused_adamw_(group.parameters, gradients, group.exp_avg, group.exp_avg_sq, {}, group.steps,
                      group.rate * learning_rate, options_.beta1, options_.beta2, group.weight_decay, options_.epsilon,
                      /*amsgrad=*/false,
                      /*maximize=*/false);
  }
}

NamedTensors AdamW::state() const {
  NamedTensors tensors;
  for (const Group& group : groups_) {
    for (size_t i = 0; i < group.names.size(); ++i) {
      tensors.emplace_back("exp_avg." + group.names[i], group.exp_avg[i]);
      tensors.emplace_back("exp_avg_sq." + group.names[i], group.exp_avg_sq[i]);
    }
  }
  if (step_.defined()) tensors.emplace_back("step", step_);
  return tensors;
}

}  // namespace cskd::optim

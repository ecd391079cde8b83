// The state of AdamW and LAMB: decaying means of gradients and of their squares, and the number of steps.
#pragma once

#include <vector>

#include "optim/parameter_group.h"

namespace cskd::optim {

class TwoMeans : public Optimizer {
 public:
  TwoMeans(const NamedTensors& parameters, const OptimizerOptions& options)
      : beta1_(options.momentum),
        beta2_(options.beta2),
        groups_(group_parameters(parameters, options, 2)),
        step_(make_step_count(parameters)) {}

  NamedTensors state() const override {
    NamedTensors tensors = named_state(groups_, {"exp_avg", "exp_avg_sq"});
    tensors.emplace_back("step", step_);
    return tensors;
  }

 protected:
  double beta1_;
  double beta2_;
  std::vector<ParameterGroup> groups_;  // state[0]: the mean, state[1]: that of squares
  at::Tensor step_;
};

}  // namespace cskd::optim

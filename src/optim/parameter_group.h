// Parameters that are stepped alike, so that one kernel steps them together.
#pragma once

#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "optim/optimizer.h"

namespace cskd::optim {

struct ParameterGroup {
  std::vector<std::string> names;
  std::vector<at::Tensor> parameters;
  // For each kind of state the tensors of all parameters, shaped and laid out as they are.
  std::vector<std::vector<at::Tensor>> state;
  double weight_decay = 0;
  double rate = 1;  // share of the learning rate

  // Throws CheckFailure that names a parameter without gradient.
  std::vector<at::Tensor> gradients() const;
};

// Groups of equal weight decay and rate, in the order of their first parameters, with zeros for `kinds` of state.
std::vector<ParameterGroup> group_parameters(const NamedTensors& parameters, const OptimizerOptions& options,
                                             std::size_t kinds);

// Steps taken: [1], float32, on the parameters' device. Stays at 2^24, where it no longer matters.
at::Tensor make_step_count(const NamedTensors& parameters);

// "<kind>.<parameter>" for each parameter of each group, kind by kind.
NamedTensors named_state(const std::vector<ParameterGroup>& groups, const std::vector<std::string>& kinds);

}  // namespace cskd::optim

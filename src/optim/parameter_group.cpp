#include "optim/parameter_group.h"

#include <algorithm>

#include <ATen/ATen.h>

#include "runtime/check.h"

namespace cskd::optim {

std::vector<at::Tensor> ParameterGroup::gradients() const {
  std::vector<at::Tensor> result;
  result.reserve(parameters.size());
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    result.push_back(parameters[i].grad());
    CSKD_CHECK(result.back().defined(), "parameter '{}' has no gradient", names[i]);
  }
  return result;
}

std::vector<ParameterGroup> group_parameters(const NamedTensors& parameters, const OptimizerOptions& options,
                                             std::size_t kinds) {
  std::vector<ParameterGroup> groups;
  for (const auto& [name, parameter] : parameters) {
    const bool decays = options.decays ? options.decays(name, parameter) : parameter.dim() > 1;
    const double weight_decay = decays ? options.weight_decay : 0;
    const double rate = options.rate ? options.rate(name) : 1;
    auto group = std::ranges::find_if(
        groups, [&](const ParameterGroup& each) { return each.weight_decay == weight_decay && each.rate == rate; });
    if (group == groups.end()) {
      groups.push_back({.weight_decay = weight_decay, .rate = rate});
      group = groups.end() - 1;
      group->state.resize(kinds);
    }
    group->names.push_back(name);
    group->parameters.push_back(parameter);
    for (std::vector<at::Tensor>& tensors : group->state) {
      tensors.push_back(at::zeros_like(parameter, parameter.options().requires_grad(false)));
    }
  }
  return groups;
}

at::Tensor make_step_count(const NamedTensors& parameters) {
  CSKD_CHECK(!parameters.empty(), "no parameters to optimise");
  return at::zeros({1}, at::TensorOptions(parameters.front().second.device()).dtype(at::kFloat));
}

NamedTensors named_state(const std::vector<ParameterGroup>& groups, const std::vector<std::string>& kinds) {
  NamedTensors result;
  for (const ParameterGroup& group : groups) {
    for (std::size_t i = 0; i < group.names.size(); ++i) {
      for (std::size_t kind = 0; kind < kinds.size(); ++kind) {
        result.emplace_back(kinds[kind] + "." + group.names[i], group.state[kind][i]);
      }
    }
  }
  return result;
}

}  // namespace cskd::optim

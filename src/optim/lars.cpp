#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include "optim/algorithms.h"
#include "optim/parameter_group.h"
#include "optim/trust_ratio.h"

namespace cskd::optim {
namespace {

constexpr double kLarsEpsilon = 1e-8;
constexpr double kTrust = 0.001;

class Lars final : public Optimizer {
 public:
  Lars(const NamedTensors& parameters, const OptimizerOptions& options)
      : momentum_(options.momentum), groups_(group_parameters(parameters, options, momentum_ == 0 ? 0 : 1)) {}

  void step(double learning_rate) override {
    const c10::AutoGradMode no_gradients(false);
    for (const ParameterGroup& group : groups_) {
      std::vector<at::Tensor> updates = group.gradients();
      if (group.weight_decay != 0) updates = scaled(group, updates);
      if (momentum_ != 0) {
        at::_foreach_mul_(group.state[0], momentum_);
        at::_foreach_add_(group.state[0], updates);
        updates = group.state[0];
      }
      at::_foreach_add_(group.parameters, updates, -group.rate * learning_rate);
    }
  }

  NamedTensors state() const override {
    return momentum_ == 0 ? NamedTensors() : named_state(groups_, {"momentum_buffer"});
  }

 private:
  // ratio * (gradient + weight_decay * weight), in new tensors.
  static std::vector<at::Tensor> scaled(const ParameterGroup& group, at::TensorList gradients) {
    const at::Tensor weight_norms = norms_of(group.parameters);
    const at::Tensor gradient_norms = norms_of(gradients);
    const at::Tensor ratios =
        kTrust * weight_norms / (gradient_norms + group.weight_decay * weight_norms + kLarsEpsilon);
    std::vector<at::Tensor> updates = at::_foreach_add(gradients, group.parameters, group.weight_decay);
    at::_foreach_mul_(updates, ratios_of_nonzero(ratios, weight_norms, gradient_norms));
    return updates;
  }

  double momentum_;
  std::vector<ParameterGroup> groups_;
};

}  // namespace

std::unique_ptr<Optimizer> make_lars(const NamedTensors& parameters, const OptimizerOptions& options) {
  return std::make_unique<Lars>(parameters, options);
}

}  // namespace cskd::optim

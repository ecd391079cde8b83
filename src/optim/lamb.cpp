#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include "optim/algorithms.h"
#include "optim/trust_ratio.h"
#include "optim/two_means.h"

namespace cskd::optim {
namespace {

constexpr double kLambEpsilon = 1e-6;

class Lamb final : public TwoMeans {
 public:
  using TwoMeans::TwoMeans;

  void step(double learning_rate) override {
    const c10::AutoGradMode no_gradients(false);
    step_.add_(1);
    // Both means begin at zero. What divides that out stays on the device, as 0-dimensional tensors.
    const at::Tensor count = step_.squeeze(0).to(at::kDouble);
    const at::Tensor mean_share = (1 - at::pow(beta1_, count)).to(at::kFloat);
    const at::Tensor square_share_root = (1 - at::pow(beta2_, count)).sqrt().to(at::kFloat);
    for (const ParameterGroup& group : groups_) {
      const std::vector<at::Tensor> gradients = group.gradients();
      at::_foreach_lerp_(group.state[0], gradients, 1 - beta1_);
      at::_foreach_mul_(group.state[1], beta2_);
      at::_foreach_addcmul_(group.state[1], gradients, gradients, 1 - beta2_);

      std::vector<at::Tensor> denominators = at::_foreach_sqrt(group.state[1]);
      at::_foreach_div_(denominators, square_share_root);
      at::_foreach_add_(denominators, kLambEpsilon);
      std::vector<at::Tensor> updates = at::_foreach_div(group.state[0], mean_share);
      at::_foreach_div_(updates, denominators);
      if (group.weight_decay != 0) {
        at::_foreach_add_(updates, group.parameters, group.weight_decay);
        const at::Tensor weight_norms = norms_of(group.parameters);
        const at::Tensor update_norms = norms_of(updates);
        at::_foreach_mul_(updates, ratios_of_nonzero(weight_norms / update_norms, weight_norms, update_norms));
      }
      at::_foreach_add_(group.parameters, updates, -group.rate * learning_rate);
    }
  }
};

}  // namespace

std::unique_ptr<Optimizer> make_lamb(const NamedTensors& parameters, const OptimizerOptions& options) {
  return std::make_unique<Lamb>(parameters, options);
}

}  // namespace cskd::optim

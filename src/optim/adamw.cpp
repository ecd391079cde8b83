// AdamW with LibTorch's fused kernel, which torch::optim has no way to.
#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include "optim/algorithms.h"
#include "optim/two_means.h"

namespace cskd::optim {
namespace {

constexpr double kAdamEpsilon = 1e-8;

class AdamW final : public TwoMeans {
 public:
  using TwoMeans::TwoMeans;

  void step(double learning_rate) override {
    const c10::AutoGradMode no_gradients(false);
    step_.add_(1);
    for (const ParameterGroup& group : groups_) {
      at::_fused_adamw_(group.parameters, group.gradients(), group.state[0], group.state[1], {},
                        std::vector<at::Tensor>(group.parameters.size(), step_), group.rate * learning_rate, beta1_,
                        beta2_, group.weight_decay, kAdamEpsilon, /*amsgrad=*/false, /*maximize=*/false);
    }
  }
};

}  // namespace

std::unique_ptr<Optimizer> make_adamw(const NamedTensors& parameters, const OptimizerOptions& options) {
  return std::make_unique<AdamW>(parameters, options);
}

}  // namespace cskd::optim

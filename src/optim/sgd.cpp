// SGD with momentum with LibTorch's fused kernel.
#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include "optim/algorithms.h"
#include "optim/parameter_group.h"

namespace cskd::optim {
namespace {

class Sgd final : public Optimizer {
 public:
  Sgd(const NamedTensors& parameters, const OptimizerOptions& options)
      : momentum_(options.momentum), groups_(group_parameters(parameters, options, momentum_ == 0 ? 0 : 1)) {}

  void step(double learning_rate) override {
    const c10::AutoGradMode no_gradients(false);
    for (const ParameterGroup& group : groups_) {
      // No step is a first one, which would take the gradient as the buffer: momentum * 0 + gradient is the same.
      at::_fused_sgd_(group.parameters, group.gradients(), momentum_ == 0 ? at::TensorList() : group.state[0],
                      group.weight_decay, momentum_, group.rate * learning_rate, /*dampening=*/0, /*nesterov=*/false,
                      /*maximize=*/false, /*is_first_step=*/false);
    }
  }

  NamedTensors state() const override {
    return momentum_ == 0 ? NamedTensors() : named_state(groups_, {"momentum_buffer"});
  }

 private:
  double momentum_;
  std::vector<ParameterGroup> groups_;
};

}  // namespace

std::unique_ptr<Optimizer> make_sgd(const NamedTensors& parameters, const OptimizerOptions& options) {
  return std::make_unique<Sgd>(parameters, options);
}

}  // namespace cskd::optim

// Optimisers: weights from their gradients.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>

namespace cskd::optim {

using NamedTensors = std::vector<std::pair<std::string, at::Tensor>>;

class Optimizer {
 public:
  virtual ~Optimizer() = default;

  // One step along the parameters' gradients, which are defined, laid out in memory as their parameters, and left as
  // they are. Parameters and state are written in place. The host waits for no device.
  virtual void step(double learning_rate) = 0;

  // What a checkpoint keeps: "<kind>.<parameter>" for each parameter and kind of state, and "step" where steps are
  // counted. The tensors are the live ones: restoring copies into them.
  virtual NamedTensors state() const = 0;
};

enum class Algorithm {
  // Adam with decoupled weight decay; epsilon 1e-8. State: exp_avg, exp_avg_sq, step. Loshchilov and Hutter,
  // arXiv 1711.05101, algorithm 2.
  kAdamW,
  // Stochastic gradient descent with momentum; weight decay is an L2 term of the gradient. State: momentum_buffer,
  // nothing without momentum. As torch.optim.SGD.
  kSgd,
  // AdamW whose update of a tensor is as long as the tensor; epsilon 1e-6, no limit to the ratio. You et al.,
  // arXiv 1904.00962, algorithm 2. Tensors without weight decay have no such ratio. State as kAdamW. As timm's Lamb
  // without its clipping.
  kLamb,
  // SGD with momentum whose gradient of a tensor, weight decay included, is scaled by
  // 0.001 |w| / (|g| + weight_decay |w| + 1e-8). You et al., arXiv 1708.03888, algorithm 1. Tensors without weight
  // decay have plain SGD. State as kSgd. As timm's Lars.
  kLars,
};

struct OptimizerOptions {
  Algorithm algorithm = Algorithm::kAdamW;
  double momentum = 0.9;  // kAdamW, kLamb: beta1
  double beta2 = 0.999;   // kAdamW, kLamb
  double weight_decay = 0.05;
  // Share of the learning rate that the parameter of this name has; all have the whole of it when empty.
  std::function<double(const std::string& name)> rate;
  // Whether a parameter has weight decay; those with two dimensions or more when empty.
  std::function<bool(const std::string& name, const at::Tensor& parameter)> decays;
};

// Keeps `parameters`, all on one device, and makes their state, zeros at first.
std::unique_ptr<Optimizer> make_optimizer(const NamedTensors& parameters, const OptimizerOptions& options);

}  // namespace cskd::optim

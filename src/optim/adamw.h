// AdamW with LibTorch's fused kernel, which torch::optim has no way to. Loshchilov and Hutter, "Decoupled Weight Decay
// Regularization", arXiv 1711.05101, algorithm 2.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>

namespace cskd::optim {

using NamedTensors = std::vector<std::pair<std::string, at::Tensor>>;

class AdamW {
 public:
  struct Options {
    double beta1 = 0.9;
    double beta2 = 0.999;
    double epsilon = 1e-8;
    double weight_decay = 0.05;  // not for parameters with one dimension or none
    // Share of the learning rate that the parameter of this name has; all have the whole of it when empty.
    std::function<double(const std::string& name)> rate;
  };

  AdamW(const NamedTensors& parameters, Options options);

  // One step along the parameters' gradients.
  void step(double learning_rate);

  // "exp_avg.<parameter>", "exp_avg_sq.<parameter>" and "step": what a checkpoint needs. The tensors are the live ones:
  // restoring copies into them.
  NamedTensors state() const;

 private:
  struct Group {
    std::vector<std::string> names;
    std::vector<at::Tensor> parameters, exp_avg, exp_avg_sq, steps;
    double weight_decay = 0;
    double rate = 1;
  };

  Options options_;
  std::vector<Group> groups_;
  at::Tensor step_;  // [1], float32; shared by all parameters
};

}  // namespace cskd::optim

// A moving average of a model's weights.
#pragma once

#include <vector>

#include <ATen/core/Tensor.h>

namespace cskd::optim {

class WeightAverage {
 public:
  // Pairs of tensors, model and average, in equal order; buffers that are no floating-point numbers are copied.
  WeightAverage(std::vector<at::Tensor> model, std::vector<at::Tensor> average);

  // average = decay * average + (1 - decay) * model
  void update(double decay);
  // average = model
  void reset();

 private:
  std::vector<at::Tensor> model_, average_;                // floating point
  std::vector<at::Tensor> copied_model_, copied_average_;  // the rest
};

}  // namespace cskd::optim

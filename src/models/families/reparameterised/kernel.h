// Convolution kernels of parallel branches, which add up to one kernel (structural reparameterisation, Ding et al.,
// https://arxiv.org/abs/2101.03697).
#pragma once

#include <cstdint>

#include <torch/nn/modules/batchnorm.h>

#include "models/convolution.h"

namespace cskd::models::reparameterised {

// Both see the same input, with the same stride: the sum of what they make. A kernel without tensors counts as zero;
// sides of the kernels are odd, and the smaller one gets zeros around it.
Kernel sum(const Kernel& a, const Kernel& b);

// Of what is multiplied, channel by channel, by `factor` [C].
Kernel scaled(const Kernel& kernel, const torch::Tensor& factor);

// As a convolution in `groups`, what multiplies each channel by its `scale` [C] and adds its `shift` [C].
Kernel by_channel(const torch::Tensor& scale, const torch::Tensor& shift, std::int64_t groups);

// A norm as it stands, with its running statistics.
Kernel by_channel(const torch::nn::BatchNorm2d& norm, std::int64_t groups);

// The convolution that stands for a block's branches once they are folded, padded by half of its kernel. Empty at
// first.
class FoldedConvolution {
 public:
  FoldedConvolution() = default;
  FoldedConvolution(Kernel kernel, std::int64_t stride, std::int64_t groups);

  explicit operator bool() const { return kernel_.weight.defined(); }

  // REQUIRES: not empty. Throws CheckFailure in training mode.
  torch::Tensor operator()(const torch::Tensor& x, bool is_training) const;

 private:
  Kernel kernel_;
  std::int64_t stride_ = 1;
  std::int64_t groups_ = 1;
};

}  // namespace cskd::models::reparameterised

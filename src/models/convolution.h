// Convolutions and norms as timm initialises them.
#pragma once

#include <torch/nn/modules/batchnorm.h>
#include <torch/nn/modules/conv.h>

namespace cskd::models {

struct ConvolutionSize {
  int in = 0;
  int out = 0;
  int kernel = 1;
  int stride = 1;
  int groups = 1;
  bool bias = false;
};

// Padded by half of the kernel; weights normal with variance 2 / fan-out (He et al., https://arxiv.org/abs/1502.01852),
// bias zero.
torch::nn::Conv2d convolution(const ConvolutionSize& size);

// eps 1e-5, momentum 0.1.
torch::nn::BatchNorm2d batch_norm(int width);

}  // namespace cskd::models

#include "models/convolution.h"

#include <cmath>

#include <torch/torch.h>

namespace cskd::models {

torch::nn::Conv2d convolution(const ConvolutionSize& size) {
  torch::nn::Conv2d layer(torch::nn::Conv2dOptions(size.in, size.out, size.kernel)
                              .stride(size.stride)
                              .padding(size.kernel / 2)
                              .groups(size.groups)
                              .bias(size.bias));
  const double fan_out = static_cast<double>(size.kernel * size.kernel * size.out) / size.groups;
  torch::nn::init::normal_(layer->weight, 0.0, std::sqrt(2.0 / fan_out));
  if (size.bias) torch::nn::init::zeros_(layer->bias);
  return layer;
}

torch::nn::BatchNorm2d batch_norm(int width) {
  return torch::nn::BatchNorm2d(torch::nn::BatchNorm2dOptions(width).eps(1e-5).momentum(0.1));
}

}  // namespace cskd::models

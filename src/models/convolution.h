// Convolutions and norms as timm initialises them.
#pragma once

#include <memory>
#include <string>

#include <torch/nn/modules/batchnorm.h>
#include <torch/nn/modules/conv.h>

#include "models/foldable.h"

namespace cskd::models {

enum class Padding {
  kHalf,  // half of the kernel on every side
  // TensorFlow's SAME: what ceil(side / stride) places need, max((places - 1) * stride + kernel - side, 0), half of it
  // before the image, and one more behind it where it is odd.
  kSame
};

struct ConvolutionSize {
  int in = 0;
  int out = 0;
  int kernel = 1;
  int stride = 1;
  int groups = 1;
  bool bias = false;
  Padding padding = Padding::kHalf;
};

// Weights normal with variance 2 / fan-out (He et al., https://arxiv.org/abs/1502.01852), bias zero. REQUIRES: a
// padding of kHalf
torch::nn::Conv2d convolution(const ConvolutionSize& size);

inline constexpr double kNormEpsilon = 1e-5;

// Momentum 0.1.
torch::nn::BatchNorm2d batch_norm(int width, double epsilon = kNormEpsilon);

// What a convolution computes with: weight [out, in / groups, k, k], bias [out].
struct Kernel {
  torch::Tensor weight;
  torch::Tensor bias;
};

// A convolution and the batch normalisation behind it. Each keeps its own name in the module that both belong to:
//
//   expand_ = normed_convolution(*this, "conv_pw", "bn1", {.in = 16, .out = 64});
class NormedConvolution final : public torch::nn::Conv2dImpl, public Foldable {
 public:
  NormedConvolution(const ConvolutionSize& size, torch::nn::BatchNorm2d norm);

  torch::Tensor forward(const torch::Tensor& images);

  void fold() override;

  // Both as one convolution, with weights and running statistics as they are now.
  Kernel folded() const;

  const torch::nn::BatchNorm2d& norm() const { return norm_; }

 private:
  torch::Tensor convolve(const torch::Tensor& images, const torch::Tensor& kernel, const torch::Tensor& shift) const;

  torch::nn::BatchNorm2d norm_;
  Padding padding_;
  torch::Tensor folded_weight_;
  torch::Tensor folded_bias_;
};

// Registers both with `parent` under these names, with the weights of convolution() and batch_norm().
std::shared_ptr<NormedConvolution> normed_convolution(torch::nn::Module& parent, const std::string& convolution_name,
                                                      const std::string& norm_name, const ConvolutionSize& size,
                                                      double epsilon = kNormEpsilon);

}  // namespace cskd::models

// Convolutions and norms as timm initialises them.
#pragma once

#include <memory>
#include <string>

#include <torch/nn/modules/batchnorm.h>
#include <torch/nn/modules/conv.h>

#include "models/foldable.h"

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
  NormedConvolution(const torch::nn::Conv2dOptions& sizes, torch::nn::BatchNorm2d norm);

  torch::Tensor forward(const torch::Tensor& images);

  void fold() override;

  // Both as one convolution, with weights and running statistics as they are now.
  Kernel folded() const;

  const torch::nn::BatchNorm2d& norm() const { return norm_; }

 private:
  torch::nn::BatchNorm2d norm_;
  torch::Tensor folded_weight_;
  torch::Tensor folded_bias_;
};

// Registers convolution(size) and batch_norm(size.out) with `parent` under these names.
std::shared_ptr<NormedConvolution> normed_convolution(torch::nn::Module& parent, const std::string& convolution_name,
                                                      const std::string& norm_name, const ConvolutionSize& size);

}  // namespace cskd::models

// MobileOne's building block (https://arxiv.org/abs/2206.04040, section 3.2): parallel branches that are trained
// together and become one convolution for inference.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <torch/nn/module.h>
#include <torch/nn/modules/conv.h>

#include "models/families/reparameterised/kernel.h"
#include "models/foldable.h"

namespace cskd::models::reparameterised {

enum class BlockActivation { kNone, kRelu, kGelu };

struct MobileOneSize {
  int in = 0;
  int out = 0;
  int kernel = 1;
  int stride = 1;
  int groups = 1;
  int convolutions = 1;   // branches of the whole kernel
  bool has_scale = true;  // a branch with a kernel of 1 x 1, where the kernel is larger than that
  int squeezed = 0;       // channels in squeeze-and-excitation; 0: without
  const char* squeeze_name = "se";
  BlockActivation activation = BlockActivation::kNone;
};

// Gates each channel by all channels' means (https://arxiv.org/abs/1709.01507): `fc1`, ReLU, `fc2`, sigmoid.
class SqueezeExcite final : public torch::nn::Module {
 public:
  SqueezeExcite(int width, int squeezed);

  torch::Tensor forward(const torch::Tensor& x);

 private:
  torch::nn::Conv2d reduce_{nullptr};
  torch::nn::Conv2d expand_{nullptr};
};

// The sum of its branches, then squeeze-and-excitation, then the activation. Branches are convolutions with norms
// (`conv_kxk.N`, `conv_scale`) and, where input and output have the same shape, a norm alone (`identity`). Weights
// begin as PyTorch's modules begin.
class MobileOneBlock final : public torch::nn::Module, public Foldable {
 public:
  explicit MobileOneBlock(const MobileOneSize& size);

  // drop_probability: of all branches but `identity`, as of drop_path(); without effect where there is none
  torch::Tensor forward(const torch::Tensor& x, double drop_probability = 0);

  void fold() override;

  // All branches as one convolution, with weights and running statistics as they are now.
  Kernel folded() const;

 private:
  torch::Tensor branches(const torch::Tensor& x, double drop_probability);

  MobileOneSize size_;
  std::vector<std::shared_ptr<NormedConvolution>> convolutions_;  // the scale first: summed as timm does
  torch::nn::BatchNorm2d identity_{nullptr};
  std::shared_ptr<SqueezeExcite> squeeze_;
  FoldedConvolution folded_;
};

// A convolution and its norm in a module of their own, timm's ConvNormAct: NAME.conv, NAME.bn, with PyTorch's initial
// weights.
std::shared_ptr<NormedConvolution> named_convolution(torch::nn::Module& parent, const std::string& name,
                                                     const ConvolutionSize& size);

}  // namespace cskd::models::reparameterised

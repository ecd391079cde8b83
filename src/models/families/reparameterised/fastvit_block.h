// Blocks of FastViT (https://arxiv.org/abs/2303.14189) that take part in its reparameterisation, or stand between those
// that do. x is [N, C, H, W] everywhere.
#pragma once

#include <memory>
#include <vector>

#include <torch/nn/modules/linear.h>
#include <torch/nn/modules/normalization.h>

#include "models/encoder.h"
#include "models/families/reparameterised/mobileone_block.h"

namespace cskd::models::reparameterised {

// Halves height and width: a depthwise convolution of 7 x 7 beside one of 3 x 3 (`proj.0`), squeeze-and-excitation and
// GELU if wanted, and a pointwise MobileOneBlock (`proj.1`).
class Downsample final : public torch::nn::Module {
 public:
  Downsample(int in, int out, bool squeezes, bool activates);

  torch::Tensor forward(const torch::Tensor& x);

 private:
  class LargeKernel;

  std::shared_ptr<LargeKernel> large_;
  std::shared_ptr<MobileOneBlock> pointwise_;
};

// x plus a depthwise convolution of 7 x 7: positions that depend on the surroundings (Chu et al.,
// https://arxiv.org/abs/2102.10882).
class ConditionalPositions final : public torch::nn::Module, public Foldable {
 public:
  explicit ConditionalPositions(int width);

  torch::Tensor forward(const torch::Tensor& x);
  void fold() override;

 private:
  torch::nn::Conv2d convolution_{nullptr};
  FoldedConvolution folded_;
};

// A token mixer, then a convolutional MLP; each of their branches scaled channel by channel.
class MixingBlock : public torch::nn::Module {
 public:
  // drop_probability: of the branches, as of drop_path(). `captured`: null, or where queries and keys go.
  virtual torch::Tensor forward(const torch::Tensor& x, double drop_probability, Attention* captured) = 0;
};

// Mixes places by a depthwise convolution of 3 x 3, less a norm: x + scale (mixer(x) - norm(x)), which folds into one
// convolution with the sum. REQUIRES: `captured` is null
std::shared_ptr<MixingBlock> convolution_block(int width, int mlp_ratio);

enum class AttentionNorm { kBatch, kLayer };

// Mixes places by self-attention among all of them, in heads of 32 channels.
std::shared_ptr<MixingBlock> attention_block(int width, int mlp_ratio, AttentionNorm norm);

}  // namespace cskd::models::reparameterised

#include "models/families/reparameterised/fastvit_block.h"

#include <algorithm>
#include <string>

#include <torch/nn/init.h>
#include <torch/nn/modules/batchnorm.h>
#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/normalization.h>
#include <torch/types.h>
#include <torch/utils.h>

#include "models/packable_linear.h"
#include "runtime/check.h"

namespace cskd::models::reparameterised {
namespace {

using torch::Tensor;

constexpr double kFirstScale = 1e-5;
constexpr int kHeadWidth = 32;

// x + scale * branch, without drop path in one pass.
Tensor add_branch(const Tensor& x, const Tensor& branch, const Tensor& scale, double drop_probability,
                  bool is_training) {
  if (drop_probability == 0 || !is_training) return torch::addcmul(x, branch, scale);
  return x + drop_path(branch * scale, drop_probability, is_training);
}

// `name`.gamma
Tensor channel_scale(torch::nn::Module& parent, const char* name, int width) {
  return parent.register_module(name, std::make_shared<torch::nn::Module>("LayerScale2d"))
      ->register_parameter("gamma", kFirstScale * torch::ones({width, 1, 1}));
}

class RepMixer final : public torch::nn::Module, public Foldable {
 public:
  explicit RepMixer(int width) : width_(width) {
    const MobileOneSize mixer{.in = width, .out = width, .kernel = 3, .groups = width};
    MobileOneSize norm = mixer;
    norm.convolutions = 0;
    norm.has_scale = false;
    norm_ = register_module("norm", std::make_shared<MobileOneBlock>(norm));
    mixer_ = register_module("mixer", std::make_shared<MobileOneBlock>(mixer));
    scale_ = channel_scale(*this, "layer_scale", width);
  }

  Tensor forward(const Tensor& x) {
    if (folded_) return folded_(x, is_training());
    return torch::addcmul(x, mixer_->forward(x).sub_(norm_->forward(x)), scale_);
  }

  void fold() override {
    const torch::NoGradGuard no_gradients;
    const Tensor scale = scale_.flatten();
    const Kernel branch = sum(scaled(mixer_->folded(), scale), scaled(norm_->folded(), -scale));
    const Kernel itself = by_channel(torch::ones_like(scale), torch::zeros_like(scale), width_);
    folded_ = FoldedConvolution(sum(branch, itself), 1, width_);
  }

 private:
  int width_;
  std::shared_ptr<MobileOneBlock> norm_;
  std::shared_ptr<MobileOneBlock> mixer_;
  Tensor scale_;
  FoldedConvolution folded_;
};

// A depthwise convolution of 7 x 7, then two pointwise ones with GELU between them.
class ConvolutionMlp final : public torch::nn::Module {
 public:
  ConvolutionMlp(int width, int ratio) {
    convolution_ = named_convolution(*this, "conv", {.in = width, .out = width, .kernel = 7, .groups = width});
    fc1_ = register_module("fc1", torch::nn::Conv2d(torch::nn::Conv2dOptions(width, ratio * width, 1)));
    fc2_ = register_module("fc2", torch::nn::Conv2d(torch::nn::Conv2dOptions(ratio * width, width, 1)));
    torch::nn::init::normal_(convolution_->weight, 0.0, 0.02);
    for (const torch::nn::Conv2d& layer : {fc1_, fc2_}) {
      torch::nn::init::normal_(layer->weight, 0.0, 0.02);
      torch::nn::init::zeros_(layer->bias);
    }
  }

  Tensor forward(const Tensor& x) { return fc2_->forward(at::gelu(fc1_->forward(convolution_->forward(x)))); }

 private:
  std::shared_ptr<NormedConvolution> convolution_;
  torch::nn::Conv2d fc1_{nullptr};
  torch::nn::Conv2d fc2_{nullptr};
};

class SelfAttention final : public torch::nn::Module {
 public:
  explicit SelfAttention(int width) : heads_(width / kHeadWidth) {
    CSKD_CHECK(width % kHeadWidth == 0, "{} channels are no whole heads of {}", width, kHeadWidth);
    in_ = register_module("qkv",
                          std::make_shared<PackableLinear>(torch::nn::LinearOptions(width, 3 * width).bias(false)));
    out_ = register_module("proj", std::make_shared<PackableLinear>(width, width));
    for (const std::shared_ptr<PackableLinear>& layer : {in_, out_}) torch::nn::init::normal_(layer->weight, 0.0, 0.02);
    torch::nn::init::zeros_(out_->bias);
  }

  // tokens: [N, L, C]
  Tensor forward(const Tensor& tokens, Attention* captured) {
    const std::vector<Tensor> qkv =
        in_->forward(tokens).unflatten(2, {3, heads_, kHeadWidth}).permute({2, 0, 3, 1, 4}).unbind(0);
    if (captured != nullptr) *captured = {qkv[0], qkv[1]};
    const Tensor mixed = at::scaled_dot_product_attention(qkv[0], qkv[1], qkv[2]);
    return out_->forward(mixed.transpose(1, 2).flatten(2));
  }

 private:
  int heads_;
  std::shared_ptr<PackableLinear> in_;
  std::shared_ptr<PackableLinear> out_;
};

class ConvolutionBlock final : public MixingBlock {
 public:
  ConvolutionBlock(int width, int mlp_ratio) {
    mixer_ = register_module("token_mixer", std::make_shared<RepMixer>(width));
    mlp_ = register_module("mlp", std::make_shared<ConvolutionMlp>(width, mlp_ratio));
    scale_ = channel_scale(*this, "layer_scale", width);
  }

  Tensor forward(const Tensor& x, double drop_probability, Attention* captured) override {
    CSKD_CHECK(captured == nullptr, "attention of a block that has none");
    const Tensor mixed = mixer_->forward(x);
    return add_branch(mixed, mlp_->forward(mixed), scale_, drop_probability, is_training());
  }

 private:
  std::shared_ptr<RepMixer> mixer_;
  std::shared_ptr<ConvolutionMlp> mlp_;
  Tensor scale_;
};

class AttentionBlock final : public MixingBlock {
 public:
  AttentionBlock(int width, int mlp_ratio, AttentionNorm norm) {
    if (norm == AttentionNorm::kBatch) {
      batch_norm_ = register_module("norm", batch_norm(width));
    } else {
      layer_norm_ = register_module("norm", torch::nn::LayerNorm(torch::nn::LayerNormOptions({width}).eps(1e-5)));
    }
    mixer_ = register_module("token_mixer", std::make_shared<SelfAttention>(width));
    scale1_ = channel_scale(*this, "layer_scale_1", width);
    mlp_ = register_module("mlp", std::make_shared<ConvolutionMlp>(width, mlp_ratio));
    scale2_ = channel_scale(*this, "layer_scale_2", width);
  }

  Tensor forward(const Tensor& x, double drop_probability, Attention* captured) override {
    Tensor tokens = (batch_norm_ ? batch_norm_->forward(x) : x).flatten(2).transpose(1, 2);
    if (layer_norm_) tokens = layer_norm_->forward(tokens);
    const Tensor mixed = mixer_->forward(tokens, captured).transpose(1, 2).reshape(x.sizes());
    const Tensor attended = add_branch(x, mixed, scale1_, drop_probability, is_training());
    return add_branch(attended, mlp_->forward(attended), scale2_, drop_probability, is_training());
  }

 private:
  torch::nn::BatchNorm2d batch_norm_{nullptr};
  torch::nn::LayerNorm layer_norm_{nullptr};
  std::shared_ptr<SelfAttention> mixer_;
  Tensor scale1_;
  std::shared_ptr<ConvolutionMlp> mlp_;
  Tensor scale2_;
};

}  // namespace

class Downsample::LargeKernel final : public torch::nn::Module, public Foldable {
 public:
  LargeKernel(int in, int out, bool squeezes, bool activates) : in_(in), activates_(activates) {
    const ConvolutionSize large{.in = in, .out = out, .kernel = 7, .stride = 2, .groups = in};
    ConvolutionSize small = large;
    small.kernel = 3;
    large_ = named_convolution(*this, "large_conv", large);
    small_ = named_convolution(*this, "small_conv", small);
    // A quarter, to the nearest multiple of 8.
    if (squeezes)
      squeeze_ = register_module("se", std::make_shared<SqueezeExcite>(out, std::max(8, (out / 4 + 4) / 8 * 8)));
  }

  Tensor forward(const Tensor& x) {
    Tensor y = folded_ ? folded_(x, is_training()) : large_->forward(x).add_(small_->forward(x));
    if (squeeze_) y = squeeze_->forward(y);
    return activates_ ? at::gelu(y) : y;
  }

  void fold() override { folded_ = FoldedConvolution(sum(large_->folded(), small_->folded()), 2, in_); }

 private:
  int in_;
  bool activates_;
  std::shared_ptr<NormedConvolution> large_;
  std::shared_ptr<NormedConvolution> small_;
  std::shared_ptr<SqueezeExcite> squeeze_;
  FoldedConvolution folded_;
};

Downsample::Downsample(int in, int out, bool squeezes, bool activates) {
  const auto projection = register_module("proj", std::make_shared<torch::nn::Module>("Sequential"));
  large_ = projection->register_module("0", std::make_shared<LargeKernel>(in, out, squeezes, activates));
  pointwise_ = projection->register_module("1", std::make_shared<MobileOneBlock>(MobileOneSize{
                                                    .in = out, .out = out, .activation = BlockActivation::kGelu}));
}

Tensor Downsample::forward(const Tensor& x) { return pointwise_->forward(large_->forward(x)); }

ConditionalPositions::ConditionalPositions(int width)
    : convolution_(register_module(
          "pos_enc", torch::nn::Conv2d(torch::nn::Conv2dOptions(width, width, 7).padding(3).groups(width)))) {}

Tensor ConditionalPositions::forward(const Tensor& x) {
  return folded_ ? folded_(x, is_training()) : convolution_->forward(x).add_(x);
}

void ConditionalPositions::fold() {
  const torch::NoGradGuard no_gradients;
  const std::int64_t width = convolution_->weight.size(0);
  const Tensor ones = torch::ones_like(convolution_->bias);
  const Kernel itself = by_channel(ones, torch::zeros_like(ones), width);
  folded_ = FoldedConvolution(sum({.weight = convolution_->weight, .bias = convolution_->bias}, itself), 1, width);
}

std::shared_ptr<MixingBlock> convolution_block(int width, int mlp_ratio) {
  return std::make_shared<ConvolutionBlock>(width, mlp_ratio);
}

std::shared_ptr<MixingBlock> attention_block(int width, int mlp_ratio, AttentionNorm norm) {
  return std::make_shared<AttentionBlock>(width, mlp_ratio, norm);
}

}  // namespace cskd::models::reparameterised

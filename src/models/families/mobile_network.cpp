#include "models/families/mobile_network.h"

#include <memory>
#include <vector>

#include <torch/nn/modules/container/modulelist.h>
#include <torch/nn/modules/conv.h>
#include <torch/types.h>

namespace cskd::models {
namespace {

using torch::Tensor;

constexpr int kStride = 32;

// Writes over `x` where nothing is kept for gradients, or where these need the result alone.
Tensor activate(Tensor x, Activation activation) {
  const bool keeps_input = at::GradMode::is_enabled();
  switch (activation) {
    case Activation::kRelu:
      return torch::relu_(x);
    case Activation::kRelu6:
      return at::hardtanh_(x, 0, 6);
    case Activation::kHardSwish:
      return keeps_input ? at::hardswish(x) : at::hardswish_(x);
    case Activation::kSwish:
      break;
  }
  return keeps_input ? at::silu(x) : at::silu_(x);
}

class SqueezeExcite final : public torch::nn::Module {
 public:
  SqueezeExcite(const BlockPlan& block, Squeeze form) : form_(form), activation_(block.activation) {
    reduce_ = register_module("conv_reduce", convolution({.in = block.expanded, .out = block.squeezed, .bias = true}));
    expand_ = register_module("conv_expand", convolution({.in = block.squeezed, .out = block.expanded, .bias = true}));
  }

  Tensor forward(const Tensor& x) {
    const Tensor reduced = reduce_->forward(x.mean({2, 3}, /*keepdim=*/true));
    const Tensor squeezed = activate(reduced, form_ == Squeeze::kHard ? Activation::kRelu : activation_);
    const Tensor wide = expand_->forward(squeezed);
    return x * (form_ == Squeeze::kHard ? torch::hardsigmoid(wide) : torch::sigmoid(wide));
  }

 private:
  Squeeze form_;
  Activation activation_;
  torch::nn::Conv2d reduce_{nullptr};
  torch::nn::Conv2d expand_{nullptr};
};

class MobileBlock final : public torch::nn::Module {
 public:
  MobileBlock(const BlockPlan& block, const MobilePlan& network)
      : activation_(block.activation), has_shortcut_(block.has_shortcut()) {
    const std::vector<BlockPart> parts = parts_of(block, network.padding);
    for (std::size_t i = 0; i < parts.size(); ++i) {
      const BlockPart& part = parts[i];
      if (i + 1 == parts.size() && block.squeezed > 0) {
        squeeze_ = register_module("se", std::make_shared<SqueezeExcite>(block, network.squeeze));
      }
      torch::nn::Module& parent =
          part.module.empty() ? *this : *register_module(part.module, std::make_shared<torch::nn::Module>("Part"));
      layers_.push_back(
          {normed_convolution(parent, part.convolution, part.norm, part.size, network.epsilon), part.is_activated});
    }
  }

  // drop_probability: of the branch, as of drop_path().
  Tensor forward(const Tensor& input, double drop_probability) {
    Tensor x = input;
    for (std::size_t i = 0; i < layers_.size(); ++i) {
      if (i + 1 == layers_.size() && squeeze_) x = squeeze_->forward(x);
      x = layers_[i].convolution->forward(x);
      if (layers_[i].is_activated) x = activate(x, activation_);
    }
    return has_shortcut_ ? drop_path(x, drop_probability, is_training()).add_(input) : x;
  }

 private:
  struct Layer {
    std::shared_ptr<NormedConvolution> convolution;
    bool is_activated;
  };

  Activation activation_;
  bool has_shortcut_;
  std::vector<Layer> layers_;
  std::shared_ptr<SqueezeExcite> squeeze_;
};

class MobileNetwork final : public Encoder {
 public:
  MobileNetwork(const EncoderShape& shape, const MobilePlan& plan)
      : Encoder(shape), head_(plan.head), activation_(plan.activation) {
    stem_ = normed_convolution(*this, "conv_stem", "bn1",
                               {.in = 3, .out = plan.stem, .kernel = 3, .stride = 2, .padding = plan.padding},
                               plan.epsilon);
    torch::nn::ModuleList stages = register_module("blocks", torch::nn::ModuleList());
    for (const std::vector<BlockPlan>& stage : plan.stages) {
      torch::nn::ModuleList blocks;
      for (const BlockPlan& block : stage) {
        blocks_.push_back(std::make_shared<MobileBlock>(block, plan));
        blocks->push_back(blocks_.back());
      }
      stages->push_back(blocks);
    }
    const ConvolutionSize head{.in = plan.last_width(), .out = plan.pooled_width};
    if (plan.head == MobileHead::kPooledConvolution) {
      plain_head_ = register_module("conv_head", convolution({.in = head.in, .out = head.out, .bias = true}));
    } else {
      normed_head_ = normed_convolution(*this, "conv_head", plan.head == MobileHead::kConvolution ? "bn2" : "norm_head",
                                        head, plan.epsilon);
    }
  }

  Features forward(const Tensor& images, const Request& request) override {
    require(images, request);
    Tensor x = activate(stem_->forward(images), activation_);
    for (std::size_t i = 0; i < blocks_.size(); ++i) x = blocks_[i]->forward(x, drop_path_of(i, blocks_.size() + 1));
    if (head_ == MobileHead::kConvolution) x = activate(normed_head_->forward(x), activation_);
    Tensor pooled = x.mean({2, 3}, /*keepdim=*/true);
    if (head_ == MobileHead::kPooledConvolution) pooled = activate(plain_head_->forward(pooled), activation_);
    if (head_ == MobileHead::kPooledNormedConvolution) pooled = activate(normed_head_->forward(pooled), activation_);
    return {.pooled = pooled.flatten(1),
            .tokens = request.tokens ? x.flatten(2).transpose(1, 2) : Tensor(),
            .attention = {}};
  }

 private:
  MobileHead head_;
  Activation activation_;
  std::shared_ptr<NormedConvolution> stem_;
  std::vector<std::shared_ptr<MobileBlock>> blocks_;
  std::shared_ptr<NormedConvolution> normed_head_;
  torch::nn::Conv2d plain_head_{nullptr};
};

}  // namespace

EncoderEntry mobile_entry(const std::string& name, const MobilePlan& plan) {
  return {.name = name,
          .image_size = 224,
          .normalisation = kImageNetNormalisation,
          .stride = kStride,
          .pooled_width = plan.pooled_width,
          .token_width = plan.token_width(),
          .parameters = {.stem = R"((conv_stem|bn1)\..*)",
                         .block = R"(blocks\.(\d+)\.(\d+)\..*)",
                         .last_norm = plan.head == MobileHead::kConvolution ? R"((conv_head|bn2)\..*)" : "",
                         .embeddings = {}},
          .normalises_batches = true,
          .home = "timm",
          .licence = "Apache-2.0",
          .make = [=](const EncoderShape& shape) { return std::make_shared<MobileNetwork>(shape, plan); }};
}

}  // namespace cskd::models

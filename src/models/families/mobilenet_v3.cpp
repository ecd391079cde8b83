#include "models/families/mobilenet_v3.h"

#include <algorithm>
#include <string>
#include <vector>

#include <torch/torch.h>

#include "models/convolution.h"
#include "runtime/check.h"

namespace cskd::models {
namespace {

enum class MobileNetV3Size { kSmall, kLarge };

constexpr int pooled_width(MobileNetV3Size size) { return size == MobileNetV3Size::kSmall ? 1024 : 1280; }
constexpr int token_width(MobileNetV3Size size) { return size == MobileNetV3Size::kSmall ? 576 : 960; }

using torch::Tensor;

enum class Activation { kRelu, kHardSwish };

struct BlockPlan {
  int kernel = 0;
  int stride = 1;
  int expanded =
      0;  // channels of the depthwise convolution; 0: those of the input, without the expansion that makes them
  int out = 0;
  bool squeezes = false;
  Activation activation = Activation::kRelu;
};

using Stages = std::vector<std::vector<BlockPlan>>;

constexpr int kStemWidth = 16;
constexpr bool kSqueeze = true;
constexpr bool kPlain = false;
constexpr Activation kRelu = Activation::kRelu;
constexpr Activation kSwish = Activation::kHardSwish;

// Tables 1 and 2 of the paper; expansions rounded to multiples of 8.
Stages stages_of(MobileNetV3Size size) {
  if (size == MobileNetV3Size::kSmall) {
    return {
        {{3, 2, 0, 16, kSqueeze, kRelu}},
        {{3, 2, 72, 24, kPlain, kRelu}, {3, 1, 88, 24, kPlain, kRelu}},
        {{5, 2, 96, 40, kSqueeze, kSwish}, {5, 1, 240, 40, kSqueeze, kSwish}, {5, 1, 240, 40, kSqueeze, kSwish}},
        {{5, 1, 120, 48, kSqueeze, kSwish}, {5, 1, 144, 48, kSqueeze, kSwish}},
        {{5, 2, 288, 96, kSqueeze, kSwish}, {5, 1, 576, 96, kSqueeze, kSwish}, {5, 1, 576, 96, kSqueeze, kSwish}},
    };
  }
  return {
      {{3, 1, 0, 16, kPlain, kRelu}},
      {{3, 2, 64, 24, kPlain, kRelu}, {3, 1, 72, 24, kPlain, kRelu}},
      {{5, 2, 72, 40, kSqueeze, kRelu}, {5, 1, 120, 40, kSqueeze, kRelu}, {5, 1, 120, 40, kSqueeze, kRelu}},
      {{3, 2, 240, 80, kPlain, kSwish},
       {3, 1, 200, 80, kPlain, kSwish},
       {3, 1, 184, 80, kPlain, kSwish},
       {3, 1, 184, 80, kPlain, kSwish}},
      {{3, 1, 480, 112, kSqueeze, kSwish}, {3, 1, 672, 112, kSqueeze, kSwish}},
      {{5, 2, 672, 160, kSqueeze, kSwish}, {5, 1, 960, 160, kSqueeze, kSwish}, {5, 1, 960, 160, kSqueeze, kSwish}},
  };
}

// timm's rounding to a multiple of 8 that loses at most a tenth, of a quarter of the expanded channels.
int squeezed_width(int expanded) {
  const double wanted = 0.25 * expanded;
  const int rounded = std::max(8, static_cast<int>(wanted + 4) / 8 * 8);
  return rounded < 0.9 * wanted ? rounded + 8 : rounded;
}

Tensor activate(const Tensor& x, Activation activation) {
  return activation == Activation::kRelu ? torch::relu(x) : torch::hardswish(x);
}

class SqueezeExcite final : public torch::nn::Module {
 public:
  explicit SqueezeExcite(int width) {
    const int squeezed = squeezed_width(width);
    reduce_ = register_module("conv_reduce", convolution({.in = width, .out = squeezed, .bias = true}));
    expand_ = register_module("conv_expand", convolution({.in = squeezed, .out = width, .bias = true}));
  }

  Tensor forward(const Tensor& x) {
    const Tensor squeezed = torch::relu(reduce_->forward(x.mean({2, 3}, /*keepdim=*/true)));
    return x * torch::hardsigmoid(expand_->forward(squeezed));
  }

 private:
  torch::nn::Conv2d reduce_{nullptr};
  torch::nn::Conv2d expand_{nullptr};
};

// timm's InvertedResidual, and its DepthwiseSeparableConv, which is the same without the expansion and numbers its
// parts from the depthwise convolution on.
class Block final : public torch::nn::Module {
 public:
  Block(int in, const BlockPlan& plan)
      : activation_(plan.activation), has_shortcut_(plan.stride == 1 && in == plan.out) {
    const bool expands = plan.expanded != 0;
    const int width = expands ? plan.expanded : in;
    if (expands) {
      expand_ = register_module("conv_pw", convolution({.in = in, .out = width}));
      expand_norm_ = register_module("bn1", batch_norm(width));
    }
    depthwise_ = register_module(
        "conv_dw",
        convolution({.in = width, .out = width, .kernel = plan.kernel, .stride = plan.stride, .groups = width}));
    depthwise_norm_ = register_module(expands ? "bn2" : "bn1", batch_norm(width));
    if (plan.squeezes) squeeze_ = register_module("se", std::make_shared<SqueezeExcite>(width));
    project_ = register_module(expands ? "conv_pwl" : "conv_pw", convolution({.in = width, .out = plan.out}));
    project_norm_ = register_module(expands ? "bn3" : "bn2", batch_norm(plan.out));
  }

  Tensor forward(const Tensor& input) {
    Tensor x = input;
    if (expand_) x = activate(expand_norm_->forward(expand_->forward(x)), activation_);
    x = activate(depthwise_norm_->forward(depthwise_->forward(x)), activation_);
    if (squeeze_) x = squeeze_->forward(x);
    x = project_norm_->forward(project_->forward(x));
    return has_shortcut_ ? x + input : x;
  }

 private:
  Activation activation_;
  bool has_shortcut_;
  torch::nn::Conv2d expand_{nullptr};
  torch::nn::BatchNorm2d expand_norm_{nullptr};
  torch::nn::Conv2d depthwise_{nullptr};
  torch::nn::BatchNorm2d depthwise_norm_{nullptr};
  std::shared_ptr<SqueezeExcite> squeeze_;
  torch::nn::Conv2d project_{nullptr};
  torch::nn::BatchNorm2d project_norm_{nullptr};
};

class MobileNetV3 final : public Encoder {
 public:
  MobileNetV3(const EncoderShape& shape, MobileNetV3Size size) : Encoder(shape) {
    CSKD_CHECK(shape.grid * 32 == shape.image_size, "{}: a grid of {} for an image of {}", shape.name, shape.grid,
               shape.image_size);
    stem_ = register_module("conv_stem", convolution({.in = 3, .out = kStemWidth, .kernel = 3, .stride = 2}));
    stem_norm_ = register_module("bn1", batch_norm(kStemWidth));

    torch::nn::ModuleList list = register_module("blocks", torch::nn::ModuleList());
    int width = kStemWidth;
    for (const std::vector<BlockPlan>& stage : stages_of(size)) {
      torch::nn::ModuleList blocks;
      for (const BlockPlan& plan : stage) {
        blocks_.push_back(std::make_shared<Block>(width, plan));
        blocks->push_back(blocks_.back());
        width = plan.out;
      }
      list->push_back(blocks);
    }
    // The last stage is a single convolution: blocks.S.0.conv, blocks.S.0.bn1.
    const int last_width = token_width(size);
    const auto last = std::make_shared<torch::nn::Module>("ConvBnAct");
    last_ = last->register_module("conv", convolution({.in = width, .out = last_width}));
    last_norm_ = last->register_module("bn1", batch_norm(last_width));
    torch::nn::ModuleList last_stage;
    last_stage->push_back(last);
    list->push_back(last_stage);

    head_ = register_module("conv_head", convolution({.in = last_width, .out = pooled_width(size), .bias = true}));
  }

  Features forward(const Tensor& images, const Request& request) override {
    require(images, request);
    Tensor x = torch::hardswish(stem_norm_->forward(stem_->forward(images)));
    for (const auto& block : blocks_) x = block->forward(x);
    x = torch::hardswish(last_norm_->forward(last_->forward(x)));
    const Tensor pooled = torch::hardswish(head_->forward(x.mean({2, 3}, /*keepdim=*/true)));
    return {.pooled = pooled.flatten(1),
            .tokens = request.tokens ? x.flatten(2).transpose(1, 2) : Tensor(),
            .attention = {}};
  }

 private:
  torch::nn::Conv2d stem_{nullptr};
  torch::nn::BatchNorm2d stem_norm_{nullptr};
  std::vector<std::shared_ptr<Block>> blocks_;
  torch::nn::Conv2d last_{nullptr};
  torch::nn::BatchNorm2d last_norm_{nullptr};
  torch::nn::Conv2d head_{nullptr};
};

EncoderEntry entry(const char* name, MobileNetV3Size size) {
  return {.name = name,
          .image_size = 224,
          .normalisation = kImageNetNormalisation,
          .stride = 32,
          .pooled_width = pooled_width(size),
          .token_width = token_width(size),
          .parameters = {.stem = R"((conv_stem|bn1)\..*)",
                         .block = R"(blocks\.(\d+)\.(\d+)\..*)",
                         .last_norm = "",
                         .embeddings = {}},
          .normalises_batches = true,
          .home = "timm",
          .make = [=](const EncoderShape& shape) { return std::make_shared<MobileNetV3>(shape, size); }};
}

}  // namespace

std::vector<EncoderEntry> mobilenet_v3_entries() {
  return {entry("mobilenetv3_small_100", MobileNetV3Size::kSmall),
          entry("mobilenetv3_large_100", MobileNetV3Size::kLarge)};
}

}  // namespace cskd::models

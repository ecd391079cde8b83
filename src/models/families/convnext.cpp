#include "models/families/convnext.h"

#include <array>
#include <string>
#include <vector>

#include <torch/nn/init.h>
#include <torch/nn/modules/container/modulelist.h>
#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/normalization.h>
#include <torch/types.h>

#include "models/foldable.h"
#include "models/packable_linear.h"
#include "runtime/check.h"

namespace cskd::models {
namespace {

using torch::Tensor;

// What an MLP's layers are called by their weights' shapes, [out, in] or [out, in, 1, 1]: both compute the same.
enum class MlpLayers { kLinear, kConvolution };

struct ConvNextSize {
  std::array<int, 4> blocks{};  // of each stage
  std::array<int, 4> widths{};
  MlpLayers mlp = MlpLayers::kLinear;
  bool is_v2 = false;  // global response normalisation in the MLPs, no scale of branches
};

// Note [Places before channels]
// Feature maps are [N, H, W, C]: LayerNorm and the MLPs work on them as they lie, and to a convolution the same memory
// is a batch in channels-last layout.
Tensor convolve(torch::nn::Conv2d& layer, const Tensor& map) {
  return layer->forward(map.permute({0, 3, 1, 2})).permute({0, 2, 3, 1});
}

// timm draws from a normal distribution that it truncates at +-2, 100 standard deviations away: a plain one here.
void draw_weights(const Tensor& weight, const Tensor& bias) {
  torch::nn::init::normal_(weight, 0.0, 0.02);
  torch::nn::init::zeros_(bias);
}

torch::nn::Conv2d convnext_convolution(const torch::nn::Conv2dOptions& options) {
  torch::nn::Conv2d layer(options);
  draw_weights(layer->weight, layer->bias);
  return layer;
}

torch::nn::LayerNorm convnext_layer_norm(int width) {
  return torch::nn::LayerNorm(torch::nn::LayerNormOptions({width}).eps(1e-6));
}

// A linear layer at every place of a map.
class PlacewiseLinear final : public torch::nn::Module, public Foldable {
 public:
  PlacewiseLinear(int in, int out, MlpLayers layers) {
    std::vector<std::int64_t> shape{out, in};
    if (layers == MlpLayers::kConvolution) shape.insert(shape.end(), {1, 1});
    weight_ = register_parameter("weight", torch::empty(shape));
    bias_ = register_parameter("bias", torch::empty({out}));
    draw_weights(weight_, bias_);
  }

  Tensor forward(const Tensor& map) const { return product_.linear(map, weight_.flatten(1), bias_, is_training()); }

  Tensor forward_gelu(const Tensor& map) const {
    return product_.linear_gelu(map, weight_.flatten(1), bias_, Gelu::kErf, is_training());
  }

  void fold() override { product_ = PackedProduct(weight_.flatten(1)); }

 private:
  Tensor weight_;
  Tensor bias_;
  PackedProduct product_;
};

// timm's GlobalResponseNorm: each channel of an image is scaled by how strong it is among all of them. It begins as the
// identity.
class ResponseNorm final : public torch::nn::Module {
 public:
  explicit ResponseNorm(int width) {
    weight_ = register_parameter("weight", torch::zeros({width}));
    bias_ = register_parameter("bias", torch::zeros({width}));
  }

  // map: [N, H, W, width]
  Tensor forward(const Tensor& map) {
    const Tensor strength = at::linalg_vector_norm(map, 2, at::IntArrayRef({1, 2}), /*keepdim=*/true);
    const Tensor share = strength / (strength.mean(-1, /*keepdim=*/true) + 1e-6);
    return torch::addcmul(bias_, map, weight_ * share + 1);
  }

 private:
  Tensor weight_;
  Tensor bias_;
};

class ConvNextBlock final : public torch::nn::Module {
 public:
  ConvNextBlock(int width, const ConvNextSize& size) {
    depthwise_ = register_module(
        "conv_dw", convnext_convolution(torch::nn::Conv2dOptions(width, width, 7).padding(3).groups(width)));
    norm_ = register_module("norm", convnext_layer_norm(width));
    const auto mlp = register_module("mlp", std::make_shared<torch::nn::Module>("Mlp"));
    fc1_ = mlp->register_module("fc1", std::make_shared<PlacewiseLinear>(width, 4 * width, size.mlp));
    if (size.is_v2) response_norm_ = mlp->register_module("grn", std::make_shared<ResponseNorm>(4 * width));
    fc2_ = mlp->register_module("fc2", std::make_shared<PlacewiseLinear>(4 * width, width, size.mlp));
    if (!size.is_v2) scale_ = register_parameter("gamma", torch::full({width}, 1e-6));
  }

  Tensor forward(const Tensor& map, double drop_probability) {
    Tensor x = fc1_->forward_gelu(norm_->forward(convolve(depthwise_, map)));
    if (response_norm_) x = response_norm_->forward(x);
    x = fc2_->forward(x);
    if (!scale_.defined()) return map + drop_path(x, drop_probability, is_training());
    if (drop_probability == 0 || !is_training()) return torch::addcmul(map, x, scale_);
    return map + drop_path(x * scale_, drop_probability, /*is_training=*/true);
  }

 private:
  torch::nn::Conv2d depthwise_{nullptr};
  torch::nn::LayerNorm norm_{nullptr};
  std::shared_ptr<PlacewiseLinear> fc1_;
  std::shared_ptr<ResponseNorm> response_norm_;  // v2's only
  std::shared_ptr<PlacewiseLinear> fc2_;
  Tensor scale_;  // v1's only
};

// Between two stages: a norm, then a convolution that halves the sides; "downsample.0", "downsample.1".
class Halving final : public torch::nn::Module {
 public:
  Halving(int in, int out) {
    norm_ = register_module("0", convnext_layer_norm(in));
    convolution_ = register_module("1", convnext_convolution(torch::nn::Conv2dOptions(in, out, 2).stride(2)));
  }

  Tensor forward(const Tensor& map) { return convolve(convolution_, norm_->forward(map)); }

 private:
  torch::nn::LayerNorm norm_{nullptr};
  torch::nn::Conv2d convolution_{nullptr};
};

class ConvNext final : public Encoder {
 public:
  ConvNext(const EncoderShape& shape, const ConvNextSize& size) : Encoder(shape) {
    CSKD_CHECK(shape.grid * 32 == shape.image_size, "{}: a grid of {} for an image of {}", shape.name, shape.grid,
               shape.image_size);
    const auto stem = register_module("stem", std::make_shared<torch::nn::Module>("Stem"));
    patches_ =
        stem->register_module("0", convnext_convolution(torch::nn::Conv2dOptions(3, size.widths[0], 4).stride(4)));
    first_norm_ = stem->register_module("1", convnext_layer_norm(size.widths[0]));
    torch::nn::ModuleList stages = register_module("stages", torch::nn::ModuleList());
    for (std::size_t i = 0; i < size.widths.size(); ++i) {
      const auto stage = std::make_shared<torch::nn::Module>("Stage");
      stages->push_back(stage);
      if (i > 0) {
        halvings_.push_back(
            stage->register_module("downsample", std::make_shared<Halving>(size.widths[i - 1], size.widths[i])));
      }
      torch::nn::ModuleList blocks = stage->register_module("blocks", torch::nn::ModuleList());
      for (int block = 0; block < size.blocks[i]; ++block) {
        blocks_.push_back(std::make_shared<ConvNextBlock>(size.widths[i], size));
        blocks->push_back(blocks_.back());
      }
      stage_ends_[i] = blocks_.size();
    }
    last_norm_ = register_module("head", std::make_shared<torch::nn::Module>("Head"))
                     ->register_module("norm", convnext_layer_norm(size.widths.back()));
  }

  Features forward(const Tensor& images, const Request& request) override {
    require(images, request);
    // Three channels are laid out anew for less than what the convolution makes of them.
    const Tensor pixels = images.contiguous(torch::MemoryFormat::ChannelsLast);
    Tensor map = first_norm_->forward(patches_->forward(pixels).permute({0, 2, 3, 1}));
    std::size_t block = 0;
    for (std::size_t stage = 0; stage < stage_ends_.size(); ++stage) {
      if (stage > 0) map = halvings_[stage - 1]->forward(map);
      for (; block < stage_ends_[stage]; ++block)
        map = blocks_[block]->forward(map, drop_path_of(block, blocks_.size()));
    }
    return {.pooled = last_norm_->forward(map.mean({1, 2})),
            .tokens = request.tokens ? map.flatten(1, 2) : Tensor(),
            .attention = {}};
  }

 private:
  torch::nn::Conv2d patches_{nullptr};
  torch::nn::LayerNorm first_norm_{nullptr};
  std::vector<std::shared_ptr<Halving>> halvings_;      // before each stage but the first
  std::vector<std::shared_ptr<ConvNextBlock>> blocks_;  // of all stages
  std::array<std::size_t, 4> stage_ends_{};
  torch::nn::LayerNorm last_norm_{nullptr};
};

// The files of the models' authors, for both versions.
WeightLayout meta_layout() {
  return {.name = "ConvNeXt (Meta)",
          .rules = {{R"(downsample_layers\.0\.([01])\.(.*))", "stem.$1.$2"},
                    {R"(downsample_layers\.([1-3])\.([01])\.(.*))", "stages.$1.downsample.$2.$3"},
                    {R"(stages\.(\d+)\.(\d+)\.dwconv\.(.*))", "stages.$1.blocks.$2.conv_dw.$3"},
                    {R"(stages\.(\d+)\.(\d+)\.(norm\..*|gamma))", "stages.$1.blocks.$2.$3"},
                    {R"(stages\.(\d+)\.(\d+)\.pwconv([12])\.(.*))", "stages.$1.blocks.$2.mlp.fc$3.$4"},
                    {R"(stages\.(\d+)\.(\d+)\.grn\.gamma)", "stages.$1.blocks.$2.mlp.grn.weight"},
                    {R"(stages\.(\d+)\.(\d+)\.grn\.beta)", "stages.$1.blocks.$2.mlp.grn.bias"},
                    {R"(norm\.(.*))", "head.norm.$1"}},
          .left_out = {}};
}

// torchvision numbers the stem, the stages and the convolutions between them alike: features.0 to features.7.
WeightLayout convnext_torchvision_layout() {
  WeightLayout layout{
      .name = "torchvision",
      .rules = {{R"(features\.0\.([01])\.(.*))", "stem.$1.$2"}, {R"(classifier\.0\.(.*))", "head.norm.$1"}},
      .left_out = {}};
  for (int stage = 0; stage < 4; ++stage) {
    const std::string own = "stages." + std::to_string(stage);
    if (stage > 0) {
      layout.rules.push_back(
          {"features\\." + std::to_string(2 * stage) + R"(\.([01])\.(.*))", own + ".downsample.$1.$2"});
    }
    const std::string block = "features\\." + std::to_string(2 * stage + 1) + R"(\.(\d+)\.)";
    layout.rules.push_back({block + R"(block\.0\.(.*))", own + ".blocks.$1.conv_dw.$2"});
    layout.rules.push_back({block + R"(block\.2\.(.*))", own + ".blocks.$1.norm.$2"});
    layout.rules.push_back({block + R"(block\.3\.(.*))", own + ".blocks.$1.mlp.fc1.$2"});
    layout.rules.push_back({block + R"(block\.5\.(.*))", own + ".blocks.$1.mlp.fc2.$2"});
    layout.rules.push_back({block + "layer_scale", own + ".blocks.$1.gamma"});
  }
  return layout;
}

EncoderEntry convnext_entry(const std::string& name, const ConvNextSize& size, const char* licence) {
  EncoderEntry made{.name = name,
                    .image_size = 224,
                    .normalisation = kImageNetNormalisation,
                    .stride = 32,
                    .pooled_width = size.widths.back(),
                    .token_width = size.widths.back(),
                    .parameters = {.stem = R"(stem\..*)",
                                   .block = R"(stages\.(\d+)\.(?:downsample|blocks\.(\d+))\..*)",
                                   .last_norm = "",
                                   .embeddings = {}},
                    .home = "timm",
                    .layouts = {meta_layout()},
                    .left_out = {{R"(visual\.head\.(proj|mlp)\..*)", "projection"}},
                    .licence = licence,
                    .make = [=](const EncoderShape& shape) { return std::make_shared<ConvNext>(shape, size); }};
  if (!size.is_v2) made.layouts.push_back(convnext_torchvision_layout());
  return made;
}

// An image tower of open_clip: one of the sizes, trained on pictures that were normalised in CLIP's way.
EncoderEntry clip(const char* name, int image_size, const ConvNextSize& size) {
  EncoderEntry made = convnext_entry(name, size, "MIT");
  made.image_size = image_size;
  made.normalisation = kClipNormalisation;
  return made;
}

}  // namespace

std::vector<EncoderEntry> convnext_entries() {
  struct Named {
    const char* name;
    ConvNextSize size;
  };
  constexpr std::array<int, 4> kSmallest{2, 2, 6, 2};
  constexpr std::array<int, 4> kTiny{3, 3, 9, 3};
  constexpr std::array<int, 4> kDeep{3, 3, 27, 3};
  const ConvNextSize base{kDeep, {128, 256, 512, 1024}};
  const ConvNextSize large{kDeep, {192, 384, 768, 1536}};
  const std::vector<Named> sizes{
      {"atto", {kSmallest, {40, 80, 160, 320}, MlpLayers::kConvolution}},
      {"femto", {kSmallest, {48, 96, 192, 384}, MlpLayers::kConvolution}},
      {"pico", {kSmallest, {64, 128, 256, 512}, MlpLayers::kConvolution}},
      {"nano", {{2, 2, 8, 2}, {80, 160, 320, 640}, MlpLayers::kConvolution}},
      {"tiny", {kTiny, {96, 192, 384, 768}}},
      {"small", {kDeep, {96, 192, 384, 768}}},
      {"base", base},
      {"large", large},
  };
  std::vector<EncoderEntry> entries;
  for (const auto& [name, size] : sizes) {
    entries.push_back(convnext_entry(std::string("convnext_") + name, size, "Apache-2.0"));
    ConvNextSize v2 = size;
    v2.is_v2 = true;
    entries.push_back(convnext_entry(std::string("convnextv2_") + name, v2, "CC-BY-NC-4.0"));
  }
  entries.push_back(clip("convnext_base_w", 256, base));
  entries.push_back(clip("convnext_base_w_320", 320, base));
  entries.push_back(clip("convnext_large_d", 256, large));
  entries.push_back(clip("convnext_large_d_320", 320, large));
  return entries;
}

}  // namespace cskd::models

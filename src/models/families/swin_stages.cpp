#include "models/families/swin_stages.h"

#include <fmt/format.h>
#include <torch/nn/init.h>
#include <torch/nn/modules/container/modulelist.h>
#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/normalization.h>
#include <torch/types.h>

#include "runtime/check.h"

namespace cskd::models {
namespace {

using torch::Tensor;

torch::nn::LayerNorm swin_layer_norm(int width) {
  return torch::nn::LayerNorm(torch::nn::LayerNormOptions({width}).eps(1e-5));
}

class SwinBlock final : public torch::nn::Module {
 public:
  SwinBlock(const AttentionPlace& place, const SwinVersion& version)
      : has_norms_behind_(version.has_norms_behind), windows_(place.windows) {
    const int width = place.width;
    norm1_ = register_module("norm1", swin_layer_norm(width));
    attention_ = register_module("attn", version.attention(place));
    norm2_ = register_module("norm2", swin_layer_norm(width));
    const auto mlp = register_module("mlp", std::make_shared<torch::nn::Module>("Mlp"));
    fc1_ = mlp->register_module("fc1", swin_linear(width, 4 * width));
    fc2_ = mlp->register_module("fc2", swin_linear(4 * width, width));
    if (has_norms_behind_) {
      for (const torch::nn::LayerNorm& norm : {norm1_, norm2_}) torch::nn::init::zeros_(norm->weight);
    }
  }

  // map: [N, grid, grid, width]
  Tensor forward(const Tensor& map, double drop_probability) {
    const auto branch = [&](torch::nn::LayerNorm& norm, const Tensor& x, auto compute) {
      const Tensor made = has_norms_behind_ ? norm->forward(compute(x)) : compute(norm->forward(x));
      return x + drop_path(made, drop_probability, is_training());
    };
    const Tensor attended = branch(
        norm1_, map, [&](const Tensor& x) { return windows_->merge(attention_->forward(windows_->partition(x))); });
    return branch(norm2_, attended, [&](const Tensor& x) { return fc2_->forward(fc1_->forward_gelu(x, Gelu::kErf)); });
  }

 private:
  bool has_norms_behind_;
  std::shared_ptr<const ShiftedWindows> windows_;
  torch::nn::LayerNorm norm1_{nullptr};
  std::shared_ptr<WindowAttention> attention_;
  torch::nn::LayerNorm norm2_{nullptr};
  std::shared_ptr<PackableLinear> fc1_;
  std::shared_ptr<PackableLinear> fc2_;
};

// Makes a token of each 2 x 2.
class Merging final : public torch::nn::Module {
 public:
  Merging(int in, bool has_norm_behind) : has_norm_behind_(has_norm_behind) {
    norm_ = register_module("norm", swin_layer_norm(has_norm_behind ? 2 * in : 4 * in));
    reduction_ = register_module("reduction", swin_linear(4 * in, 2 * in, /*has_bias=*/false));
  }

  Tensor forward(const Tensor& map) {
    // Column by column, as Swin's authors put the four together.
    const Tensor fours = map.unflatten(2, {-1, 2}).unflatten(1, {-1, 2}).permute({0, 1, 3, 4, 2, 5}).flatten(3);
    return has_norm_behind_ ? norm_->forward(reduction_->forward(fours)) : reduction_->forward(norm_->forward(fours));
  }

 private:
  bool has_norm_behind_;
  torch::nn::LayerNorm norm_{nullptr};
  std::shared_ptr<PackableLinear> reduction_;
};

class Swin final : public Encoder {
 public:
  Swin(const EncoderShape& shape, const SwinSize& size, const SwinVersion& version) : Encoder(shape) {
    CSKD_CHECK(shape.grid * 32 == shape.image_size, "{}: a grid of {} for an image of {}", shape.name, shape.grid,
               shape.image_size);
    const auto patch_embedding = register_module("patch_embed", std::make_shared<torch::nn::Module>("PatchEmbed"));
    patches_ = patch_embedding->register_module(
        "proj", torch::nn::Conv2d(torch::nn::Conv2dOptions(3, size.width, 4).stride(4)));
    first_norm_ = patch_embedding->register_module("norm", swin_layer_norm(size.width));
    torch::nn::ModuleList stages = register_module("layers", torch::nn::ModuleList());
    int width = size.width;
    int grid = 8 * shape.grid;
    for (std::size_t i = 0; i < size.blocks.size(); ++i) {
      const auto stage = std::make_shared<torch::nn::Module>("Stage");
      stages->push_back(stage);
      if (i > 0) {
        mergings_.push_back(
            stage->register_module("downsample", std::make_shared<Merging>(width, version.has_norms_behind)));
        width *= 2;
        grid /= 2;
      }
      const std::array windows{std::make_shared<const ShiftedWindows>(grid, size.window, false),
                               std::make_shared<const ShiftedWindows>(grid, size.window, true)};
      torch::nn::ModuleList blocks = stage->register_module("blocks", torch::nn::ModuleList());
      for (int block = 0; block < size.blocks[i]; ++block) {
        const AttentionPlace place{
            .width = width, .heads = size.heads[i], .stage = i, .windows = windows[block % 2 == 0 ? 0 : 1]};
        blocks_.push_back(std::make_shared<SwinBlock>(place, version));
        blocks->push_back(blocks_.back());
      }
      stage_ends_[i] = blocks_.size();
    }
    last_norm_ = register_module("norm", swin_layer_norm(width));
  }

  Features forward(const Tensor& images, const Request& request) override {
    require(images, request);
    // Three channels are laid out anew for less than what the convolution makes of them.
    const Tensor pixels = images.contiguous(torch::MemoryFormat::ChannelsLast);
    Tensor map = first_norm_->forward(patches_->forward(pixels).permute({0, 2, 3, 1}));
    std::size_t block = 0;
    for (std::size_t stage = 0; stage < stage_ends_.size(); ++stage) {
      if (stage > 0) map = mergings_[stage - 1]->forward(map);
      for (; block < stage_ends_[stage]; ++block)
        map = blocks_[block]->forward(map, drop_path_of(block, blocks_.size()));
    }
    map = last_norm_->forward(map);
    return {.pooled = map.mean({1, 2}), .tokens = request.tokens ? map.flatten(1, 2) : Tensor(), .attention = {}};
  }

 private:
  torch::nn::Conv2d patches_{nullptr};
  torch::nn::LayerNorm first_norm_{nullptr};
  std::vector<std::shared_ptr<Merging>> mergings_;  // before each stage but the first
  std::vector<std::shared_ptr<SwinBlock>> blocks_;  // of all stages
  std::array<std::size_t, 4> stage_ends_{};
  torch::nn::LayerNorm last_norm_{nullptr};
};

// The files of Swin's authors count the merging to the stage before it.
WeightLayout microsoft_layout() {
  WeightLayout layout{.name = "Swin (Microsoft)",
                      .rules = {{R"((patch_embed\..*|norm\..*|layers\.\d+\.blocks\..*))", "$1"}},
                      .left_out = {}};
  for (int stage = 0; stage < 3; ++stage) {
    layout.rules.push_back(
        {fmt::format(R"(layers\.{}\.downsample\.(.*))", stage), fmt::format("layers.{}.downsample.$1", stage + 1)});
  }
  return layout;
}

// torchvision numbers patches, stages and mergings alike: features.0 to features.7.
WeightLayout swin_torchvision_layout() {
  WeightLayout layout{.name = "torchvision",
                      .rules = {{R"(features\.0\.0\.(.*))", "patch_embed.proj.$1"},
                                {R"(features\.0\.2\.(.*))", "patch_embed.norm.$1"},
                                {R"(norm\.(.*))", "norm.$1"}},
                      .left_out = {}};
  for (int stage = 0; stage < 4; ++stage) {
    if (stage > 0) {
      layout.rules.push_back(
          {fmt::format(R"(features\.{}\.(.*))", 2 * stage), fmt::format("layers.{}.downsample.$1", stage)});
    }
    const std::string block = fmt::format(R"(features\.{}\.(\d+)\.)", 2 * stage + 1);
    const std::string own = fmt::format("layers.{}.blocks.$1.", stage);
    layout.rules.push_back({block + R"((norm[12]\..*|attn\..*))", own + "$2"});
    layout.rules.push_back({block + R"(mlp\.0\.(.*))", own + "mlp.fc1.$2"});
    layout.rules.push_back({block + R"(mlp\.3\.(.*))", own + "mlp.fc2.$2"});
    // The second version, whose keys have no bias.
    layout.rules.push_back({block + R"(attn\.qkv\.bias)", own + "attn.q_bias", {.begin = 0, .end = 1, .of = 3}});
    layout.rules.push_back({block + R"(attn\.qkv\.bias)", own + "attn.v_bias", {.begin = 2, .end = 3, .of = 3}});
  }
  return layout;
}

}  // namespace

std::shared_ptr<PackableLinear> swin_linear(int in, int out, bool has_bias) {
  auto layer = std::make_shared<PackableLinear>(torch::nn::LinearOptions(in, out).bias(has_bias));
  // timm truncates at +-2, 100 standard deviations away.
  torch::nn::init::normal_(layer->weight, 0.0, 0.02);
  if (has_bias) torch::nn::init::zeros_(layer->bias);
  return layer;
}

std::shared_ptr<Encoder> make_swin(const EncoderShape& shape, const SwinSize& size, const SwinVersion& version) {
  return std::make_shared<Swin>(shape, size, version);
}

EncoderEntry swin_entry(const std::string& name, int image_size, const SwinSize& size) {
  return {.name = name,
          .image_size = image_size,
          .normalisation = kImageNetNormalisation,
          .stride = 32,
          .pooled_width = 8 * size.width,
          .token_width = 8 * size.width,
          .parameters = {.stem = R"(patch_embed\..*)",
                         .block = R"(layers\.(\d+)\.(?:downsample|blocks\.(\d+))\..*)",
                         .last_norm = R"(norm\..*)",
                         .embeddings = {}},
          .home = "timm",
          .layouts = {microsoft_layout(), swin_torchvision_layout()},
          .left_out = {{R"(.*\.(relative_position_index|relative_coords_table|attn_mask))", "index tables"}},
          .licence = "MIT",
          .make = nullptr};
}

std::vector<std::string> in_every_attention(const SwinSize& size, const std::vector<std::string>& parameters) {
  std::vector<std::string> names;
  for (std::size_t stage = 0; stage < size.blocks.size(); ++stage) {
    for (int block = 0; block < size.blocks[stage]; ++block) {
      for (const std::string& parameter : parameters)
        names.push_back(fmt::format("layers.{}.blocks.{}.attn.{}", stage, block, parameter));
    }
  }
  return names;
}

}  // namespace cskd::models

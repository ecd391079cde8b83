#include "models/families/relative_vision_transformer.h"

#include <memory>
#include <string>

#include <torch/nn/modules/container/modulelist.h>
#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/normalization.h>
#include <torch/types.h>

#include "models/families/constant.h"
#include "models/families/shifted_windows.h"
#include "models/families/transformer/block.h"
#include "runtime/check.h"

namespace cskd::models {
namespace {

using torch::Tensor;

constexpr auto kForm = transformer::Form::kTimm;
constexpr int kRelativePatch = 16;
constexpr int kLayers = 12;
constexpr int kHidden = 128;  // units of the function of a block's own biases
constexpr double kRelativeLayerScale = 1e-6;

struct Structure {
  int width = 0;
  int heads = 0;
  bool is_shared = false;  // one function of biases for all blocks, `width` hidden units wide
  bool has_norm_behind_pool = false;
};

// sign(d) log(1 + |d|) of all relative positions in a grid, rows first: [(2 grid - 1)^2, 2].
Tensor log_distances(int grid) {
  const Tensor distance = torch::arange(1 - grid, grid, torch::kFloat);
  const Tensor logarithm = distance.sign() * (1 + distance.abs()).log();
  const std::vector<Tensor> both = torch::meshgrid({logarithm, logarithm}, "ij");
  return torch::stack({both[0].flatten(), both[1].flatten()}, 1);
}

// A bias of attention for each head and relative position, by a small network.
class RelativePositions final : public torch::nn::Module {
 public:
  RelativePositions(int grid, int heads, int hidden)
      : places_(grid, grid, /*is_shifted=*/false), distances_([grid] { return log_distances(grid); }) {
    const auto mlp = register_module("mlp", std::make_shared<torch::nn::Module>("Mlp"));
    fc1_ = mlp->register_module("fc1", transformer::linear(2, hidden, kForm));
    fc2_ = mlp->register_module("fc2", transformer::linear(hidden, heads, kForm));
  }

  // [1, heads, L, L]
  Tensor bias() const {
    const Tensor& distances = distances_.on(fc1_->weight.device(), fc1_->weight.scalar_type());
    return places_.bias_of(fc2_->forward(torch::relu(fc1_->forward(distances)))).unsqueeze(0);
  }

 private:
  ShiftedWindows places_;  // one window of the whole grid
  Constant distances_;
  std::shared_ptr<PackableLinear> fc1_;
  std::shared_ptr<PackableLinear> fc2_;
};

class RelativeVisionTransformer final : public Encoder {
 public:
  RelativeVisionTransformer(const EncoderShape& shape, const Structure& structure) : Encoder(shape) {
    const double epsilon = transformer::names_of(kForm).norm_epsilon;
    patches_ =
        register_module("patch_embed", std::make_shared<torch::nn::Module>("PatchEmbed"))
            ->register_module(
                "proj",
                torch::nn::Conv2d(torch::nn::Conv2dOptions(3, structure.width, kRelativePatch).stride(kRelativePatch)));
    if (structure.is_shared) {
      shared_ = register_module("shared_rel_pos",
                                std::make_shared<RelativePositions>(shape.grid, structure.heads, structure.width));
    }
    torch::nn::ModuleList list;
    for (int layer = 0; layer < kLayers; ++layer) {
      blocks_.push_back(std::make_shared<transformer::Block>(transformer::BlockSize{.width = structure.width,
                                                                                    .heads = structure.heads,
                                                                                    .mlp_width = 4 * structure.width,
                                                                                    .layer_scale = kRelativeLayerScale,
                                                                                    .has_qkv_bias = false},
                                                             kForm, Gelu::kErf));
      list->push_back(blocks_.back());
      if (structure.is_shared) continue;
      own_.push_back(std::make_shared<RelativePositions>(shape.grid, structure.heads, kHidden));
      blocks_.back()->attention().register_module("rel_pos", own_.back());
    }
    register_module("blocks", list);
    (structure.has_norm_behind_pool ? pooled_norm_ : token_norm_) = register_module(
        structure.has_norm_behind_pool ? "fc_norm" : "norm", transformer::layer_norm(structure.width, epsilon));
    // timm leaves these models, unlike its others, to the defaults of PyTorch's modules.
    for (const auto& module : modules(/*include_self=*/false)) {
      if (auto* layer = module->as<PackableLinear>()) layer->reset_parameters();
    }
  }

  Features forward(const Tensor& images, const Request& request) override {
    require(images, request);
    Tensor x = patches_->forward(images).flatten(2).transpose(1, 2);
    const Tensor shared = shared_ ? shared_->bias() : Tensor();
    for (std::size_t layer = 0; layer < blocks_.size(); ++layer) {
      x = blocks_[layer]->forward(x, drop_path_of(layer, blocks_.size()), nullptr,
                                  shared_ ? shared : own_[layer]->bias());
    }
    if (token_norm_) x = token_norm_->forward(x);
    const Tensor mean = x.mean(1);
    return {.pooled = pooled_norm_ ? pooled_norm_->forward(mean) : mean,
            .tokens = request.tokens ? x : Tensor(),
            .attention = {}};
  }

 private:
  torch::nn::Conv2d patches_{nullptr};
  std::shared_ptr<RelativePositions> shared_;            // or
  std::vector<std::shared_ptr<RelativePositions>> own_;  // of each block
  std::vector<std::shared_ptr<transformer::Block>> blocks_;
  torch::nn::LayerNorm token_norm_{nullptr};   // either
  torch::nn::LayerNorm pooled_norm_{nullptr};  // or
};

EncoderEntry relative_entry(const std::string& name, const Structure& structure) {
  return {
      .name = name,
      .image_size = 224,
      .normalisation = kHalfNormalisation,
      .stride = kRelativePatch,
      .pooled_width = structure.width,
      .token_width = structure.width,
      .attention_layers = 0,
      .parameters = {.stem = R"(patch_embed\..*)",
                     .block = R"(blocks\.(\d+)\..*)",
                     .last_norm = R"(norm\..*)",
                     .embeddings = {}},
      .home = "timm",
      .licence = "Apache-2.0",
      .make = [=](const EncoderShape& shape) { return std::make_shared<RelativeVisionTransformer>(shape, structure); }};
}

}  // namespace

std::vector<EncoderEntry> relative_vision_transformer_entries() {
  return {
      relative_entry("vit_srelpos_small_patch16_224", {.width = 384, .heads = 6, .is_shared = true}),
      relative_entry("vit_srelpos_medium_patch16_224", {.width = 512, .heads = 8, .is_shared = true}),
      relative_entry("vit_relpos_small_patch16_224", {.width = 384, .heads = 6, .has_norm_behind_pool = true}),
      relative_entry("vit_relpos_medium_patch16_224", {.width = 512, .heads = 8, .has_norm_behind_pool = true}),
      relative_entry("vit_relpos_base_patch16_224", {.width = 768, .heads = 12, .has_norm_behind_pool = true}),
  };
}

}  // namespace cskd::models

#include "models/families/vision_transformer_model.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include <torch/nn/modules/container/modulelist.h>
#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/normalization.h>
#include <torch/types.h>

#include "models/families/transformer/attention_pool.h"
#include "runtime/check.h"

namespace cskd::models {
namespace {

using torch::Tensor;

class VisionTransformer final : public Encoder {
 public:
  VisionTransformer(const EncoderShape& shape, const VisionTransformerStructure& structure)
      : Encoder(shape), structure_(structure) {
    const VisionTransformerSize& size = structure.size;
    const bool open_clip = structure.form == transformer::Form::kOpenClip;
    CSKD_CHECK(shape.grid * size.patch == shape.image_size, "{}: {} patches of {} pixels, image of {}", shape.name,
               shape.grid, size.patch, shape.image_size);
    CSKD_CHECK(size.width % size.heads == 0, "{}: {} heads of width {}", shape.name, size.heads, size.width);
    CSKD_CHECK(!open_clip || (structure.has_class_token && structure.has_prefix_positions && structure.registers == 0 &&
                              structure.layer_scale == 0),
               "{}: not a structure of open_clip's", shape.name);
    add_embeddings(open_clip);
    torch::nn::ModuleList list;
    for (int layer = 0; layer < size.layers; ++layer) {
      blocks_.push_back(
          std::make_shared<transformer::Block>(transformer::BlockSize{.width = size.width,
                                                                      .heads = size.heads,
                                                                      .mlp_width = size.mlp_width,
                                                                      .layer_scale = structure.layer_scale},
                                               structure.form, structure.gelu));
      list->push_back(blocks_.back());
    }
    if (open_clip) {
      register_module("transformer", std::make_shared<torch::nn::Module>("Transformer"))
          ->register_module("resblocks", list);
    } else {
      register_module("blocks", list);
    }
    const transformer::Names& names = transformer::names_of(structure.form);
    last_norm_ = register_module(names.last_norm, transformer::layer_norm(size.width, names.norm_epsilon));
    if (!structure.has_class_token) {
      pool_ = register_module("attn_pool", std::make_shared<transformer::AttentionPool>(
                                               size.width, size.heads, size.mlp_width, structure.gelu));
    }
  }

  Features forward(const Tensor& images, const Request& request) override {
    require(images, request);
    Tensor x = embed(images);
    if (first_norm_) x = first_norm_->forward(x);
    Features features;
    features.attention.resize(request.attention.size());
    // Of the last block, inference reads the class token alone.
    const bool needs_all = request.tokens || pool_ || is_training() || torch::GradMode::is_enabled();
    for (std::size_t layer = 0; layer < blocks_.size(); ++layer) {
      const auto wanted = std::ranges::find(request.attention, static_cast<int>(layer));
      const bool is_wanted = wanted != request.attention.end();
      if (layer + 1 == blocks_.size() && !needs_all && !is_wanted) {
        x = blocks_[layer]->forward_first(x);
        break;
      }
      x = blocks_[layer]->forward(
          x, drop_path_of(layer, blocks_.size()),
          is_wanted ? &features.attention[static_cast<std::size_t>(wanted - request.attention.begin())] : nullptr);
    }
    x = last_norm_->forward(x);
    features.pooled = pool_ ? pool_->forward(x) : x.select(1, 0);
    if (request.tokens) features.tokens = x.slice(1, structure_.prefix());
    return features;
  }

 private:
  void add_embeddings(bool open_clip) {
    const VisionTransformerSize& size = structure_.size;
    const int64_t length = int64_t{shape().grid} * shape().grid + structure_.prefix_positions();
    const torch::nn::Conv2d patches(
        torch::nn::Conv2dOptions(3, size.width, size.patch).stride(size.patch).bias(!open_clip));
    if (open_clip) {
      const double scale = 1 / std::sqrt(size.width);
      class_token_ = register_parameter("class_embedding", transformer::normal({size.width}, scale));
      positions_ = register_parameter("positional_embedding", transformer::normal({length, size.width}, scale));
      patches_ = register_module("conv1", patches);
      first_norm_ = register_module(
          "ln_pre", transformer::layer_norm(size.width, transformer::names_of(structure_.form).norm_epsilon));
      return;
    }
    if (structure_.has_class_token)
      class_token_ = register_parameter("cls_token", transformer::normal({1, 1, size.width}, 1e-6));
    if (structure_.registers > 0)
      registers_ = register_parameter("reg_token", transformer::normal({1, structure_.registers, size.width}, 1e-6));
    positions_ = register_parameter("pos_embed", transformer::normal({1, length, size.width}, 0.02));
    patches_ = register_module("patch_embed", std::make_shared<torch::nn::Module>("PatchEmbed"))
                   ->register_module("proj", patches);
  }

  // All tokens with their positions: [N, prefix + grid * grid, width].
  Tensor embed(const Tensor& images) {
    Tensor patches = patches_->forward(images).flatten(2).transpose(1, 2);
    if (structure_.prefix() == 0) return patches + positions_;
    if (!structure_.has_prefix_positions) patches = patches + positions_;
    std::vector<Tensor> tokens;
    for (const Tensor& token : {class_token_, registers_}) {
      if (token.defined()) tokens.push_back(token.expand({images.size(0), token.dim() == 3 ? -1 : 1, patches.size(2)}));
    }
    tokens.push_back(patches);
    const Tensor all = torch::cat(tokens, 1);
    return structure_.has_prefix_positions ? all + positions_ : all;
  }

  VisionTransformerStructure structure_;
  Tensor class_token_;
  Tensor registers_;
  Tensor positions_;
  torch::nn::Conv2d patches_{nullptr};
  torch::nn::LayerNorm first_norm_{nullptr};  // open_clip's only
  std::vector<std::shared_ptr<transformer::Block>> blocks_;
  torch::nn::LayerNorm last_norm_{nullptr};
  std::shared_ptr<transformer::AttentionPool> pool_;
};

}  // namespace

std::shared_ptr<Encoder> make_vision_transformer(const EncoderShape& shape,
                                                 const VisionTransformerStructure& structure) {
  return std::make_shared<VisionTransformer>(shape, structure);
}

}  // namespace cskd::models

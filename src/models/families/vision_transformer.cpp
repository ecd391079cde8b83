#include "models/families/vision_transformer.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include <torch/torch.h>

#include "runtime/check.h"

namespace cskd::models {
namespace {

// The forms differ in the names of their parameters, in the epsilon of LayerNorm (1e-5, 1e-6), and in that open_clip's
// has a LayerNorm before the blocks and no bias in the patch embedding.
enum class VisionTransformerForm { kOpenClip, kTimm };

enum class Gelu {
  kErf,
  kQuick  // x sigmoid(1.702 x): OpenAI's checkpoints and some others. The wrong choice fails silently.
};

struct VisionTransformerSize {
  int patch = 0;  // pixels a side
  int width = 0;
  int layers = 0;
  int heads = 0;
  int mlp_width = 0;
};

using torch::Tensor;

struct Names {
  const char* norm1;
  const char* attention_out;
  const char* norm2;
  const char* fc1;
  const char* fc2;
  const char* last_norm;
  double norm_epsilon;
};

constexpr Names kOpenClipNames{"ln_1", "out_proj", "ln_2", "c_fc", "c_proj", "ln_post", 1e-5};
constexpr Names kTimmNames{"norm1", "proj", "norm2", "fc1", "fc2", "norm", 1e-6};

const Names& names_of(VisionTransformerForm form) {
  return form == VisionTransformerForm::kOpenClip ? kOpenClipNames : kTimmNames;
}

torch::nn::LayerNorm layer_norm(int width, VisionTransformerForm form) {
  return torch::nn::LayerNorm(torch::nn::LayerNormOptions({width}).eps(names_of(form).norm_epsilon));
}

// Note [Initial weights of the two forms]
// open_clip leaves its image towers to the defaults of PyTorch's modules; its attn_std, proj_std and fc_std serve the
// text tower only. timm draws linear layers and positions from a normal distribution that it truncates at +-2, 100
// standard deviations away: a plain one here. The patch embedding is PyTorch's default in both.
torch::nn::Linear linear(int in, int out, VisionTransformerForm form) {
  torch::nn::Linear layer(in, out);
  if (form == VisionTransformerForm::kTimm) {
    torch::nn::init::normal_(layer->weight, 0.0, 0.02);
    torch::nn::init::zeros_(layer->bias);
  }
  return layer;
}

class SelfAttention final : public torch::nn::Module {
 public:
  SelfAttention(int width, int heads, VisionTransformerForm form) : heads_(heads) {
    if (form == VisionTransformerForm::kOpenClip) {
      // torch.nn.MultiheadAttention's names and start.
      const int64_t rows = int64_t{3} * width;
      in_weight_ = register_parameter("in_proj_weight", torch::empty({rows, width}));
      in_bias_ = register_parameter("in_proj_bias", torch::zeros({rows}));
      torch::nn::init::xavier_uniform_(in_weight_);
    } else {
      const auto in = register_module("qkv", linear(width, 3 * width, form));
      in_weight_ = in->weight;
      in_bias_ = in->bias;
    }
    out_ = register_module(names_of(form).attention_out, linear(width, width, form));
    if (form == VisionTransformerForm::kOpenClip) torch::nn::init::zeros_(out_->bias);
  }

  // x: [N, L, D]. `captured`: null, or where queries and keys go.
  Tensor forward(const Tensor& x, models::Attention* captured) {
    const int64_t images = x.size(0);
    const int64_t length = x.size(1);
    const int64_t width = x.size(2);
    const std::vector<Tensor> qkv = torch::linear(x, in_weight_, in_bias_)
                                        .view({images, length, 3, heads_, width / heads_})
                                        .permute({2, 0, 3, 1, 4})
                                        .unbind(0);
    if (captured != nullptr) *captured = {qkv[0], qkv[1]};
    const Tensor mixed = at::scaled_dot_product_attention(qkv[0], qkv[1], qkv[2]);
    return out_->forward(mixed.transpose(1, 2).reshape({images, length, width}));
  }

 private:
  int heads_;
  // Queries, keys and values one after the other. The registered parameters: moving a module changes them in place.
  Tensor in_weight_;
  Tensor in_bias_;
  torch::nn::Linear out_{nullptr};
};

class Block final : public torch::nn::Module {
 public:
  Block(const VisionTransformerSize& size, VisionTransformerForm form, Gelu gelu) : gelu_(gelu) {
    const Names& names = names_of(form);
    norm1_ = register_module(names.norm1, layer_norm(size.width, form));
    attention_ = register_module("attn", std::make_shared<SelfAttention>(size.width, size.heads, form));
    norm2_ = register_module(names.norm2, layer_norm(size.width, form));
    const auto mlp = register_module("mlp", std::make_shared<torch::nn::Module>("Mlp"));
    fc1_ = mlp->register_module(names.fc1, linear(size.width, size.mlp_width, form));
    fc2_ = mlp->register_module(names.fc2, linear(size.mlp_width, size.width, form));
  }

  Tensor forward(const Tensor& x, models::Attention* captured) {
    const Tensor attended = x + attention_->forward(norm1_->forward(x), captured);
    const Tensor hidden = fc1_->forward(norm2_->forward(attended));
    const Tensor activated = gelu_ == Gelu::kErf ? at::gelu(hidden) : hidden * torch::sigmoid(1.702 * hidden);
    return attended + fc2_->forward(activated);
  }

 private:
  Gelu gelu_;
  torch::nn::LayerNorm norm1_{nullptr};
  std::shared_ptr<SelfAttention> attention_;
  torch::nn::LayerNorm norm2_{nullptr};
  torch::nn::Linear fc1_{nullptr};
  torch::nn::Linear fc2_{nullptr};
};

class VisionTransformer final : public Encoder {
 public:
  VisionTransformer(const EncoderShape& shape, const VisionTransformerSize& size, VisionTransformerForm form, Gelu gelu)
      : Encoder(shape) {
    CSKD_CHECK(shape.grid * size.patch == shape.image_size, "{}: {} patches of {} pixels, image of {}", shape.name,
               shape.grid, size.patch, shape.image_size);
    CSKD_CHECK(size.width % size.heads == 0, "{}: {} heads of width {}", shape.name, size.heads, size.width);
    const bool open_clip = form == VisionTransformerForm::kOpenClip;
    const int64_t length = int64_t{shape.grid} * shape.grid + 1;
    const torch::nn::Conv2d patches(
        torch::nn::Conv2dOptions(3, size.width, size.patch).stride(size.patch).bias(!open_clip));
    if (open_clip) {
      const double scale = 1 / std::sqrt(size.width);
      class_token_ = register_parameter("class_embedding", scale * torch::randn({size.width}));
      positions_ = register_parameter("positional_embedding", scale * torch::randn({length, size.width}));
      patches_ = register_module("conv1", patches);
      first_norm_ = register_module("ln_pre", layer_norm(size.width, form));
    } else {
      class_token_ = register_parameter("cls_token", 1e-6 * torch::randn({1, 1, size.width}));
      positions_ = register_parameter("pos_embed", 0.02 * torch::randn({1, length, size.width}));
      patches_ = register_module("patch_embed", std::make_shared<torch::nn::Module>("PatchEmbed"))
                     ->register_module("proj", patches);
    }
    torch::nn::ModuleList list;
    for (int layer = 0; layer < size.layers; ++layer) {
      blocks_.push_back(std::make_shared<Block>(size, form, gelu));
      list->push_back(blocks_.back());
    }
    if (open_clip) {
      register_module("transformer", std::make_shared<torch::nn::Module>("Transformer"))
          ->register_module("resblocks", list);
    } else {
      register_module("blocks", list);
    }
    last_norm_ = register_module(names_of(form).last_norm, layer_norm(size.width, form));
  }

  Features forward(const Tensor& images, const Request& request) override {
    require(images, request);
    const Tensor patches = patches_->forward(images).flatten(2).transpose(1, 2);
    const Tensor class_tokens = class_token_.expand({images.size(0), 1, patches.size(2)});
    Tensor x = torch::cat({class_tokens, patches}, 1) + positions_;
    if (first_norm_) x = first_norm_->forward(x);
    Features features;
    features.attention.resize(request.attention.size());
    for (std::size_t layer = 0; layer < blocks_.size(); ++layer) {
      const auto wanted = std::ranges::find(request.attention, static_cast<int>(layer));
      const bool is_wanted = wanted != request.attention.end();
      x = blocks_[layer]->forward(
          x, is_wanted ? &features.attention[static_cast<std::size_t>(wanted - request.attention.begin())] : nullptr);
    }
    x = last_norm_->forward(x);
    features.pooled = x.select(1, 0);
    if (request.tokens) features.tokens = x.slice(1, 1);
    return features;
  }

 private:
  Tensor class_token_;
  Tensor positions_;
  torch::nn::Conv2d patches_{nullptr};
  torch::nn::LayerNorm first_norm_{nullptr};  // open_clip's only
  std::vector<std::shared_ptr<Block>> blocks_;
  torch::nn::LayerNorm last_norm_{nullptr};
};

// The position embedding is made for shape.grid * shape.grid tokens. REQUIRES: shape.grid * patch = shape.image_size;
// heads divide width.
std::shared_ptr<Encoder> make_vision_transformer(const EncoderShape& shape, const VisionTransformerSize& size,
                                                 VisionTransformerForm form, Gelu gelu) {
  return std::make_shared<VisionTransformer>(shape, size, form, gelu);
}

ParameterNames open_clip_parameters() {
  return {.stem = R"((conv1|ln_pre)\..*)",
          .block = R"(transformer\.resblocks\.(\d+)\..*)",
          .last_norm = R"(ln_post\..*)",
          .embeddings = {"class_embedding", "positional_embedding"}};
}

ParameterNames timm_parameters() {
  return {.stem = R"(patch_embed\..*)",
          .block = R"(blocks\.(\d+)\..*)",
          .last_norm = R"(norm\..*)",
          .embeddings = {"cls_token", "pos_embed"}};
}

EncoderEntry entry(const char* name, int image_size, const Normalisation& normalisation,
                   const VisionTransformerSize& size, VisionTransformerForm form, Gelu gelu = Gelu::kErf) {
  return {.name = name,
          .image_size = image_size,
          .normalisation = normalisation,
          .stride = size.patch,
          .pooled_width = size.width,
          .token_width = size.width,
          .attention_layers = size.layers,
          .parameters = form == VisionTransformerForm::kOpenClip ? open_clip_parameters() : timm_parameters(),
          .home = form == VisionTransformerForm::kOpenClip ? "open_clip" : "timm",
          .make = [=](const EncoderShape& shape) { return make_vision_transformer(shape, size, form, gelu); }};
}

// Patch, width, layers, heads, width of the MLP.
constexpr VisionTransformerSize kB32{32, 768, 12, 12, 3072};
constexpr VisionTransformerSize kB16{16, 768, 12, 12, 3072};
constexpr VisionTransformerSize kL14{14, 1024, 24, 16, 4096};
constexpr VisionTransformerSize kH14{14, 1280, 32, 16, 5120};

}  // namespace

std::vector<EncoderEntry> vision_transformer_entries() {
  const auto clip = [](const char* name, int image_size, const VisionTransformerSize& size, Gelu gelu = Gelu::kErf) {
    return entry(name, image_size, kClipNormalisation, size, VisionTransformerForm::kOpenClip, gelu);
  };
  const auto timm = [](const char* name, int image_size, const VisionTransformerSize& size) {
    return entry(name, image_size, kHalfNormalisation, size, VisionTransformerForm::kTimm);
  };
  return {
      clip("ViT-B-32", 224, kB32),
      clip("ViT-B-32-quickgelu", 224, kB32, Gelu::kQuick),
      clip("ViT-B-16", 224, kB16),
      clip("ViT-B-16-quickgelu", 224, kB16, Gelu::kQuick),
      clip("ViT-L-14", 224, kL14),
      clip("ViT-L-14-quickgelu", 224, kL14, Gelu::kQuick),
      clip("ViT-L-14-336", 336, kL14),
      clip("ViT-L-14-336-quickgelu", 336, kL14, Gelu::kQuick),
      clip("ViT-H-14", 224, kH14),
      // No home: small enough to be trained where the demo runs.
      clip("ViT-demo-16", 128, {16, 192, 6, 3, 768}),
      timm("vit_tiny_patch16_224", 224, {16, 192, 12, 3, 768}),
      timm("vit_small_patch16_224", 224, {16, 384, 12, 6, 1536}),
      timm("vit_base_patch16_224", 224, {16, 768, 12, 12, 3072}),
  };
}

}  // namespace cskd::models

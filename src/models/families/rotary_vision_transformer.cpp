#include "models/families/rotary_vision_transformer.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <torch/nn/init.h>
#include <torch/nn/modules/container/modulelist.h>
#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/normalization.h>
#include <torch/types.h>

#include "models/families/transformer/block.h"
#include "runtime/check.h"

namespace cskd::models {
namespace {

using torch::Tensor;
using transformer::add_branch;
using transformer::attend;
using transformer::normal;

constexpr int kRotaryPatch = 16;
constexpr int kRegisters = 4;
constexpr int kPrefix = 1 + kRegisters;
constexpr double kNormEpsilon = 1e-5;
constexpr double kRotaryLayerScale = 1e-5;
constexpr double kTemperature = 100;

struct RotarySize {
  int width = 0;
  int layers = 0;
  int heads = 0;
  int mlp_width = 0;
  bool has_gate = false;  // SwiGLU (https://arxiv.org/abs/2002.05202) instead of an MLP with GELU
};

// Cosines and sines [L, d] by which the two halves of a token's query or key are turned against each other; the sines
// of the first half are negative. Class token and registers are not turned.
struct Rotation {
  Tensor cosines, sines;
};

// A patch's angles for d/4 periods: of its row, then of its column, counted from -1 to 1 over the picture.
Rotation rotation(int grid, int head_width, const torch::Device& device) {
  const torch::TensorOptions options = torch::TensorOptions(torch::kFloat).device(device);
  const Tensor exponents = 2.0 * torch::arange(head_width / 4, options) / (head_width / 2);
  const Tensor periods = torch::pow(kTemperature, exponents);
  const Tensor along = 2.0 * (torch::arange(0.5, grid, options) / grid) - 1.0;
  const Tensor angles = 2 * std::numbers::pi * along.unsqueeze(1) / periods;  // [grid, d/4]
  const Tensor rows = angles.unsqueeze(1).expand({grid, grid, -1});
  const Tensor columns = angles.unsqueeze(0).expand({grid, grid, -1});
  const Tensor all = torch::cat({rows, columns}, 2).flatten(0, 1);  // [grid * grid, d/2]
  const Tensor turned = torch::cat({torch::zeros({kPrefix, head_width / 2}, options), all});
  const Tensor cosines = turned.cos();
  const Tensor sines = turned.sin();
  return {torch::cat({cosines, cosines}, 1), torch::cat({-sines, sines}, 1)};
}

torch::nn::LayerNorm rotary_layer_norm(int width) { return transformer::layer_norm(width, kNormEpsilon); }

// Weights normal, as in Note [Initial weights of the two forms]; biases zero.
std::shared_ptr<PackableLinear> linear(int in, int out, double stddev = 0.02) {
  auto layer = std::make_shared<PackableLinear>(in, out);
  torch::nn::init::normal_(layer->weight, 0.0, stddev);
  torch::nn::init::zeros_(layer->bias);
  return layer;
}

class RotaryAttention final : public torch::nn::Module {
 public:
  RotaryAttention(const RotarySize& size, bool has_bias, double out_stddev) : heads_(size.heads) {
    in_ = register_module(
        "qkv", std::make_shared<PackableLinear>(torch::nn::LinearOptions(size.width, 3 * size.width).bias(false)));
    torch::nn::init::normal_(in_->weight, 0.0, 0.02);
    if (has_bias) {
      query_bias_ = register_parameter("q_bias", torch::zeros({size.width}));
      value_bias_ = register_parameter("v_bias", torch::zeros({size.width}));
    }
    out_ = register_module("proj", linear(size.width, size.width, out_stddev));
  }

  Tensor forward(const Tensor& x, const Rotation& rotation, Attention* captured) {
    const int64_t width = x.size(2);
    const Tensor bias =
        query_bias_.defined() ? torch::cat({query_bias_, torch::zeros_like(query_bias_), value_bias_}) : Tensor();
    const Tensor qkv = in_->forward(x, bias).view({x.size(0), x.size(1), 3, heads_, width / heads_});
    const std::vector<Tensor> queries_keys =
        turn(qkv.slice(2, 0, 2), rotation).to(qkv.scalar_type()).permute({2, 0, 3, 1, 4}).unbind(0);
    if (captured != nullptr) *captured = {queries_keys[0], queries_keys[1]};
    return out_->forward(attend(queries_keys[0], queries_keys[1], qkv.select(2, 2).transpose(1, 2)));
  }

 private:
  // x: [N, L, 2, heads, d]
  static Tensor turn(const Tensor& x, const Rotation& rotation) {
    const std::array<int64_t, 5> shape{1, x.size(1), 1, 1, x.size(4)};
    const int64_t half = x.size(4) / 2;
    const Tensor swapped = torch::cat({x.slice(4, half), x.slice(4, 0, half)}, 4);
    return torch::addcmul(x * rotation.cosines.view(shape), swapped, rotation.sines.view(shape));
  }

  int heads_;
  std::shared_ptr<PackableLinear> in_;
  Tensor query_bias_;
  Tensor value_bias_;
  std::shared_ptr<PackableLinear> out_;
};

class RotaryBlock final : public torch::nn::Module {
 public:
  // `number`: from 0. timm starts the weights that end a branch the smaller, the later its block.
  RotaryBlock(const RotarySize& size, bool has_bias, int number) {
    const double out_stddev = 0.02 / std::sqrt(2.0 * (number + 1));
    scale1_ = register_parameter("gamma_1", torch::full({size.width}, kRotaryLayerScale));
    scale2_ = register_parameter("gamma_2", torch::full({size.width}, kRotaryLayerScale));
    norm1_ = register_module("norm1", rotary_layer_norm(size.width));
    attention_ = register_module("attn", std::make_shared<RotaryAttention>(size, has_bias, out_stddev));
    norm2_ = register_module("norm2", rotary_layer_norm(size.width));
    const auto mlp = register_module("mlp", std::make_shared<torch::nn::Module>("Mlp"));
    if (size.has_gate) gate_ = mlp->register_module("fc1_g", linear(size.width, size.mlp_width));
    fc1_ = mlp->register_module(size.has_gate ? "fc1_x" : "fc1", linear(size.width, size.mlp_width));
    fc2_ = mlp->register_module("fc2", linear(size.mlp_width, size.width, out_stddev));
  }

  Tensor forward(const Tensor& x, const Rotation& rotation, double drop_probability, Attention* captured) {
    const Tensor attended = add_branch(x, attention_->forward(norm1_->forward(x), rotation, captured), scale1_,
                                       drop_probability, is_training());
    const Tensor normed = norm2_->forward(attended);
    const Tensor hidden =
        gate_ ? at::silu(gate_->forward(normed)) * fc1_->forward(normed) : fc1_->forward_gelu(normed, Gelu::kErf);
    return add_branch(attended, fc2_->forward(hidden), scale2_, drop_probability, is_training());
  }

 private:
  Tensor scale1_;
  Tensor scale2_;
  torch::nn::LayerNorm norm1_{nullptr};
  std::shared_ptr<RotaryAttention> attention_;
  torch::nn::LayerNorm norm2_{nullptr};
  std::shared_ptr<PackableLinear> gate_;
  std::shared_ptr<PackableLinear> fc1_;
  std::shared_ptr<PackableLinear> fc2_;
};

class RotaryVisionTransformer final : public Encoder {
 public:
  RotaryVisionTransformer(const EncoderShape& shape, const RotarySize& size, bool has_bias)
      : Encoder(shape), head_width_(size.width / size.heads) {
    CSKD_CHECK(shape.grid * kRotaryPatch == shape.image_size, "{}: {} patches of {} pixels, image of {}", shape.name,
               shape.grid, kRotaryPatch, shape.image_size);
    CSKD_CHECK(size.width % size.heads == 0 && head_width_ % 4 == 0, "{}: {} heads of width {}", shape.name, size.heads,
               size.width);
    class_token_ = register_parameter("cls_token", normal({1, 1, size.width}, 0.02));
    registers_ = register_parameter("reg_token", normal({1, kRegisters, size.width}, 0.02));
    patches_ =
        register_module("patch_embed", std::make_shared<torch::nn::Module>("PatchEmbed"))
            ->register_module(
                "proj", torch::nn::Conv2d(torch::nn::Conv2dOptions(3, size.width, kRotaryPatch).stride(kRotaryPatch)));
    const auto list = register_module("blocks", torch::nn::ModuleList());
    for (int layer = 0; layer < size.layers; ++layer) {
      blocks_.push_back(std::make_shared<RotaryBlock>(size, has_bias, layer));
      list->push_back(blocks_.back());
    }
    last_norm_ = register_module("norm", rotary_layer_norm(size.width));
  }

  Features forward(const Tensor& images, const Request& request) override {
    require(images, request);
    const Tensor patches = patches_->forward(images).flatten(2).transpose(1, 2);
    const int64_t count = images.size(0);
    Tensor x = torch::cat({class_token_.expand({count, -1, -1}), registers_.expand({count, -1, -1}), patches}, 1);
    const Rotation turn = rotation(shape().grid, head_width_, images.device());
    Features features;
    features.attention.resize(request.attention.size());
    for (std::size_t layer = 0; layer < blocks_.size(); ++layer) {
      const auto wanted = std::ranges::find(request.attention, static_cast<int>(layer));
      const bool is_wanted = wanted != request.attention.end();
      x = blocks_[layer]->forward(
          x, turn, drop_path_of(layer, blocks_.size()),
          is_wanted ? &features.attention[static_cast<std::size_t>(wanted - request.attention.begin())] : nullptr);
    }
    const Tensor tokens = last_norm_->forward(x).slice(1, kPrefix);
    features.pooled = tokens.mean(1);
    if (request.tokens) features.tokens = tokens;
    return features;
  }

 private:
  int head_width_;
  Tensor class_token_;
  Tensor registers_;
  torch::nn::Conv2d patches_{nullptr};
  std::vector<std::shared_ptr<RotaryBlock>> blocks_;
  torch::nn::LayerNorm last_norm_{nullptr};
};

const LeftOut kRotaryMaskToken{R"((embeddings\.)?mask_token)", "mask token"};

WeightLayout hugging_face_layout(const RotarySize& size) {
  const std::string layer = R"((?:model\.)?layer\.(\d+)\.)";
  WeightLayout layout{
      .name = "Hugging Face DINOv3",
      .rules = {{R"(embeddings\.cls_token)", "cls_token"},
                {R"(embeddings\.register_tokens)", "reg_token"},
                {R"(embeddings\.patch_embeddings\.(.*))", "patch_embed.proj.$1"},
                {R"(norm\.(.*))", "norm.$1"},
                {layer + R"(norm([12])\.(.*))", "blocks.$1.norm$2.$3"},
                {layer + R"(attention\.q_proj\.bias)", "blocks.$1.attn.q_bias"},
                {layer + R"(attention\.v_proj\.bias)", "blocks.$1.attn.v_bias"},
                {layer + R"(attention\.o_proj\.(.*))", "blocks.$1.attn.proj.$2"},
                {layer + R"(layer_scale([12])\.lambda1)", "blocks.$1.gamma_$2"},
                {layer + R"(mlp\.gate_proj\.(.*))", "blocks.$1.mlp.fc1_g.$2"},
                {layer + R"(mlp\.up_proj\.(.*))", size.has_gate ? "blocks.$1.mlp.fc1_x.$2" : "blocks.$1.mlp.fc1.$2"},
                {layer + R"(mlp\.down_proj\.(.*))", "blocks.$1.mlp.fc2.$2"}},
      .left_out = {kRotaryMaskToken}};
  int part = 0;
  for (const char* const name : {"q", "k", "v"}) {
    layout.rules.push_back({.pattern = fmt::format(R"({}attention\.{}_proj\.weight)", layer, name),
                            .name = "blocks.$1.attn.qkv.weight",
                            .to = {.begin = part, .end = part + 1, .of = 3}});
    ++part;
  }
  return layout;
}

WeightLayout facebook_layout() {
  const std::string block = R"(blocks\.(\d+)\.)";
  return {
      .name = "DINOv3",
      .rules = {{R"((cls_token|(?:patch_embed|norm)\..*|blocks\.\d+\.(?:norm[12]|mlp\.fc[12]|attn\.proj)\..*))", "$1"},
                {"storage_tokens", "reg_token"},
                {block + R"(attn\.qkv\.weight)", "blocks.$1.attn.qkv.weight"},
                // The keys' part is masked there.
                {.pattern = block + R"(attn\.qkv\.bias)",
                 .name = "blocks.$1.attn.q_bias",
                 .from = {.begin = 0, .end = 1, .of = 3}},
                {.pattern = block + R"(attn\.qkv\.bias)",
                 .name = "blocks.$1.attn.v_bias",
                 .from = {.begin = 2, .end = 3, .of = 3}},
                {block + R"(ls([12])\.gamma)", "blocks.$1.gamma_$2"},
                {block + R"(mlp\.w1\.(.*))", "blocks.$1.mlp.fc1_g.$2"},
                {block + R"(mlp\.w2\.(.*))", "blocks.$1.mlp.fc1_x.$2"},
                {block + R"(mlp\.w3\.(.*))", "blocks.$1.mlp.fc2.$2"}},
      .left_out = {kRotaryMaskToken,
                   {R"(rope_embed\.periods)", "periods"},
                   {R"(.*\.bias_mask)", "masks of biases"},
                   {R"(local_cls_norm\..*)", "norm of crops"}}};
}

EncoderEntry rotary_entry(const std::string& name, const RotarySize& size, bool has_bias) {
  return {.name = name,
          .image_size = 256,
          .normalisation = kImageNetNormalisation,
          .stride = kRotaryPatch,
          .pooled_width = size.width,
          .token_width = size.width,
          .attention_layers = size.layers,
          .parameters = {.stem = R"(patch_embed\..*)",
                         .block = R"(blocks\.(\d+)\..*)",
                         .last_norm = R"(norm\..*)",
                         .embeddings = {"cls_token", "reg_token"}},
          .home = "timm",
          .layouts = {hugging_face_layout(size), facebook_layout()},
          .licence = "DINOv3 License",
          .make = [=](const EncoderShape& shape) {
            return std::make_shared<RotaryVisionTransformer>(shape, size, has_bias);
          }};
}

}  // namespace

std::vector<EncoderEntry> rotary_vision_transformer_entries() {
  // Width, layers, heads, width of the MLP.
  const std::array<std::pair<const char*, RotarySize>, 5> sizes{{{"small", {384, 12, 6, 1536}},
                                                                 {"small_plus", {384, 12, 6, 1536, /*has_gate=*/true}},
                                                                 {"base", {768, 12, 12, 3072}},
                                                                 {"large", {1024, 24, 16, 4096}},
                                                                 {"huge_plus", {1280, 32, 20, 5120, true}}}};
  std::vector<EncoderEntry> entries;
  for (const auto& [name, size] : sizes) {
    for (const bool has_bias : {false, true})
      entries.push_back(
          rotary_entry(fmt::format("vit_{}_patch16_dinov3{}", name, has_bias ? "_qkvb" : ""), size, has_bias));
  }
  return entries;
}

}  // namespace cskd::models

#include "models/families/transformer/block.h"

#include <optional>
#include <vector>

#include <torch/nn/init.h>
#include <torch/nn/modules/normalization.h>
#include <torch/types.h>

namespace cskd::models::transformer {

using torch::Tensor;

namespace {

constexpr Names kOpenClipNames{"ln_1", "out_proj", "ln_2", "c_fc", "c_proj", "ln_post", 1e-5};
constexpr Names kTimmNames{"norm1", "proj", "norm2", "fc1", "fc2", "norm", 1e-6};

}  // namespace

const Names& names_of(Form form) { return form == Form::kOpenClip ? kOpenClipNames : kTimmNames; }

torch::nn::LayerNorm layer_norm(int width, double epsilon) {
  return torch::nn::LayerNorm(torch::nn::LayerNormOptions({width}).eps(epsilon));
}

std::shared_ptr<PackableLinear> linear(int in, int out, Form form, bool has_bias) {
  auto layer = std::make_shared<PackableLinear>(torch::nn::LinearOptions(in, out).bias(has_bias));
  if (form == Form::kTimm) {
    torch::nn::init::normal_(layer->weight, 0.0, 0.02);
    if (has_bias) torch::nn::init::zeros_(layer->bias);
  }
  return layer;
}

Tensor normal(at::IntArrayRef shape, double stddev) { return torch::empty(shape).normal_().mul_(stddev); }

std::vector<Tensor> split_heads(const Tensor& x, int parts, int heads) {
  return x.view({x.size(0), x.size(1), parts, heads, x.size(2) / (parts * heads)}).permute({2, 0, 3, 1, 4}).unbind(0);
}

Tensor attend(const Tensor& queries, const Tensor& keys, const Tensor& values, const Tensor& bias) {
  const std::optional<Tensor> mask = bias.defined() ? std::optional(bias) : std::nullopt;
  const Tensor mixed = at::scaled_dot_product_attention(queries, keys, values, mask);
  return mixed.transpose(1, 2).reshape({mixed.size(0), mixed.size(2), mixed.size(1) * mixed.size(3)});
}

Tensor add_branch(const Tensor& x, const Tensor& branch, const Tensor& scale, double drop_probability,
                  bool is_training) {
  const Tensor kept = drop_path(branch, drop_probability, is_training);
  return scale.defined() ? torch::addcmul(x, kept, scale) : x + kept;
}

SelfAttention::SelfAttention(int width, int heads, Form form, bool has_bias) : heads_(heads) {
  if (form == Form::kOpenClip) {
    // torch.nn.MultiheadAttention's names and start.
    const int64_t rows = int64_t{3} * width;
    in_weight_ = register_parameter("in_proj_weight", torch::empty({rows, width}));
    in_bias_ = register_parameter("in_proj_bias", torch::zeros({rows}));
    torch::nn::init::xavier_uniform_(in_weight_);
  } else {
    const auto in = register_module("qkv", linear(width, 3 * width, form, has_bias));
    in_weight_ = in->weight;
    in_bias_ = in->bias;
  }
  out_ = register_module(names_of(form).attention_out, linear(width, width, form));
  if (form == Form::kOpenClip) torch::nn::init::zeros_(out_->bias);
}

Tensor SelfAttention::forward(const Tensor& x, Attention* captured, const Tensor& bias) {
  const Tensor all = in_product_.linear(x, in_weight_, in_bias_, is_training());
  const std::vector<Tensor> qkv = split_heads(all, 3, heads_);
  if (captured != nullptr) *captured = {qkv[0], qkv[1]};
  return out_->forward(attend(qkv[0], qkv[1], qkv[2], bias));
}

Tensor SelfAttention::forward_first(const Tensor& x) {
  const int64_t width = x.size(2);
  const Tensor first = torch::linear(x.slice(1, 0, 1), in_weight_.slice(0, 0, width), in_bias_.slice(0, 0, width));
  const std::vector<Tensor> kv =
      split_heads(torch::linear(x, in_weight_.slice(0, width), in_bias_.slice(0, width)), 2, heads_);
  return out_->forward(attend(split_heads(first, 1, heads_)[0], kv[0], kv[1]));
}

void SelfAttention::fold() {
  in_product_ = PackedProduct(in_weight_);
  out_->fold();
}

Block::Block(const BlockSize& size, Form form, Gelu gelu) : gelu_(gelu) {
  const Names& names = names_of(form);
  norm1_ = register_module(names.norm1, layer_norm(size.width, names.norm_epsilon));
  attention_ =
      register_module("attn", std::make_shared<SelfAttention>(size.width, size.heads, form, size.has_qkv_bias));
  scale1_ = layer_scale("ls1", size);
  norm2_ = register_module(names.norm2, layer_norm(size.width, names.norm_epsilon));
  const auto mlp = register_module("mlp", std::make_shared<torch::nn::Module>("Mlp"));
  fc1_ = mlp->register_module(names.fc1, linear(size.width, size.mlp_width, form));
  fc2_ = mlp->register_module(names.fc2, linear(size.mlp_width, size.width, form));
  scale2_ = layer_scale("ls2", size);
}

Tensor Block::layer_scale(const char* name, const BlockSize& size) {
  if (size.layer_scale == 0) return {};
  return register_module(name, std::make_shared<torch::nn::Module>("LayerScale"))
      ->register_parameter("gamma", torch::full({size.width}, size.layer_scale));
}

Tensor Block::forward(const Tensor& x, double drop_probability, Attention* captured, const Tensor& bias) {
  const Tensor attended =
      add_branch(x, attention_->forward(norm1_->forward(x), captured, bias), scale1_, drop_probability, is_training());
  return add_mlp(attended, drop_probability);
}

Tensor Block::forward_first(const Tensor& x) {
  const Tensor attended =
      add_branch(x.slice(1, 0, 1), attention_->forward_first(norm1_->forward(x)), scale1_, 0, /*is_training=*/false);
  return add_mlp(attended, 0);
}

Tensor Block::add_mlp(const Tensor& attended, double drop_probability) {
  const Tensor hidden = fc1_->forward_gelu(norm2_->forward(attended), gelu_);
  return add_branch(attended, fc2_->forward(hidden), scale2_, drop_probability, is_training());
}

}  // namespace cskd::models::transformer

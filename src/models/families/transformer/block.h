// Blocks of vision transformers: self-attention and a multi-layer perceptron, each behind a norm and beside a shortcut.
#pragma once

#include <memory>

#include <torch/nn/modules/normalization.h>

#include "models/encoder.h"
#include "models/foldable.h"
#include "models/packable_linear.h"

namespace cskd::models::transformer {

// The forms differ in the names of their parameters, in how these start, in the epsilon of LayerNorm (1e-5, 1e-6), and
// in that open_clip's has a LayerNorm before the blocks and no bias in the patch embedding.
enum class Form { kOpenClip, kTimm };

struct BlockSize {
  int width = 0;
  int heads = 0;
  int mlp_width = 0;
  double layer_scale = 0;    // where the factors of LayerScale (arXiv 2103.17239) start; 0: there are none
  bool has_qkv_bias = true;  // of queries, keys and values; timm's form only may be without
};

// Names of the parts that both forms have, and their epsilon.
struct Names {
  const char* norm1;
  const char* attention_out;
  const char* norm2;
  const char* fc1;
  const char* fc2;
  const char* last_norm;
  double norm_epsilon;
};
const Names& names_of(Form form);

torch::nn::LayerNorm layer_norm(int width, double epsilon);

// Note [Initial weights of the two forms]
// open_clip leaves its image towers to the defaults of PyTorch's modules; its attn_std, proj_std and fc_std serve the
// text tower only. timm draws linear layers and positions from a normal distribution that it truncates at +-2, 100
// standard deviations away: a plain one here. The patch embedding is PyTorch's default in both.
std::shared_ptr<PackableLinear> linear(int in, int out, Form form, bool has_bias = true);

// A new tensor of independent normal values. Unlike torch::randn it draws none under a ConstructionGuard.
torch::Tensor normal(at::IntArrayRef shape, double stddev);

// [N, L, parts * D] to `parts` tensors [N, heads, L, D / heads].
std::vector<torch::Tensor> split_heads(const torch::Tensor& x, int parts, int heads);

// softmax(queries keys^T / sqrt(d) + bias) values, fused: [N, heads, L, d] each and, if defined, a bias of [1, heads,
// L, L], to [N, L, heads * d].
torch::Tensor attend(const torch::Tensor& queries, const torch::Tensor& keys, const torch::Tensor& values,
                     const torch::Tensor& bias = {});

// x + scale * branch, the branch left out as drop_path() does; an undefined scale is 1.
torch::Tensor add_branch(const torch::Tensor& x, const torch::Tensor& branch, const torch::Tensor& scale,
                         double drop_probability, bool is_training);

class SelfAttention final : public torch::nn::Module, public Foldable {
 public:
  SelfAttention(int width, int heads, Form form, bool has_bias);

  // x: [N, L, D]. `captured`: null, or where queries and keys go. `bias`: as attend().
  torch::Tensor forward(const torch::Tensor& x, Attention* captured, const torch::Tensor& bias);
  // What the first token becomes: [N, 1, D], as forward() gives it but for rounding. REQUIRES: queries, keys and values
  // have a bias
  torch::Tensor forward_first(const torch::Tensor& x);

  void fold() override;

 private:
  int heads_;
  // Queries, keys and values one after the other. The registered parameters: moving a module changes them in place.
  torch::Tensor in_weight_;
  torch::Tensor in_bias_;  // may be undefined
  PackedProduct in_product_;
  std::shared_ptr<PackableLinear> out_;
};

class Block final : public torch::nn::Module {
 public:
  Block(const BlockSize& size, Form form, Gelu gelu);

  // `drop_probability`: of drop path, for this block. `bias`: of its attention, as attend().
  torch::Tensor forward(const torch::Tensor& x, double drop_probability, Attention* captured,
                        const torch::Tensor& bias = {});
  // For inference: what the first token becomes, [N, 1, D], without what only the others need.
  torch::Tensor forward_first(const torch::Tensor& x);

  SelfAttention& attention() { return *attention_; }

 private:
  torch::Tensor add_mlp(const torch::Tensor& attended, double drop_probability);
  torch::Tensor layer_scale(const char* name, const BlockSize& size);

  Gelu gelu_;
  torch::nn::LayerNorm norm1_{nullptr};
  std::shared_ptr<SelfAttention> attention_;
  torch::Tensor scale1_;
  torch::nn::LayerNorm norm2_{nullptr};
  std::shared_ptr<PackableLinear> fc1_;
  std::shared_ptr<PackableLinear> fc2_;
  torch::Tensor scale2_;
};

}  // namespace cskd::models::transformer

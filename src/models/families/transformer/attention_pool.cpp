#include "models/families/transformer/attention_pool.h"

#include <cmath>
#include <memory>

#include <torch/nn/module.h>
#include <torch/types.h>

namespace cskd::models::transformer {
namespace {

using torch::Tensor;

// Normal values without those beyond two standard deviations of the whole distribution.
Tensor truncated_normal(at::IntArrayRef shape, double stddev) {
  const double inside = std::erf(2 / std::sqrt(2.0));  // probability of +-2 standard deviations
  return torch::empty(shape).uniform_(-inside, inside).erfinv_().mul_(stddev * std::sqrt(2.0));
}

}  // namespace

AttentionPool::AttentionPool(int width, int heads, int mlp_width, Gelu gelu) : heads_(heads), gelu_(gelu) {
  constexpr Form kForm = Form::kTimm;
  query_ = register_parameter("latent", truncated_normal({1, 1, width}, 1 / std::sqrt(width)));
  in_query_ = register_module("q", linear(width, width, kForm));
  in_keys_values_ = register_module("kv", linear(width, 2 * width, kForm));
  out_ = register_module("proj", linear(width, width, kForm));
  norm_ = register_module("norm", layer_norm(width, names_of(kForm).norm_epsilon));
  const auto mlp = register_module("mlp", std::make_shared<torch::nn::Module>("Mlp"));
  fc1_ = mlp->register_module("fc1", linear(width, mlp_width, kForm));
  fc2_ = mlp->register_module("fc2", linear(mlp_width, width, kForm));
}

Tensor AttentionPool::forward(const Tensor& x) {
  const Tensor query = split_heads(in_query_->forward(query_), 1, heads_)[0].expand({x.size(0), -1, -1, -1});
  const std::vector<Tensor> keys_values = split_heads(in_keys_values_->forward(x), 2, heads_);
  const Tensor pooled = out_->forward(attend(query, keys_values[0], keys_values[1]).squeeze(1));
  return pooled + fc2_->forward(fc1_->forward_gelu(norm_->forward(pooled), gelu_));
}

}  // namespace cskd::models::transformer

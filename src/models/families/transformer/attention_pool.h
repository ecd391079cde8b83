// Pooling by attention, as SigLIP's towers do it: what a learned query sees of all tokens ("map" in timm).
#pragma once

#include <memory>

#include <torch/nn/modules/normalization.h>

#include "models/families/transformer/block.h"

namespace cskd::models::transformer {

// timm's AttentionPoolLatent with one query; its parts start as those of timm's vision transformers.
class AttentionPool final : public torch::nn::Module {
 public:
  AttentionPool(int width, int heads, int mlp_width, Gelu gelu);

  // [N, L, D] to [N, D].
  torch::Tensor forward(const torch::Tensor& x);

 private:
  int heads_;
  Gelu gelu_;
  torch::Tensor query_;
  std::shared_ptr<PackableLinear> in_query_;
  std::shared_ptr<PackableLinear> in_keys_values_;
  std::shared_ptr<PackableLinear> out_;
  torch::nn::LayerNorm norm_{nullptr};
  std::shared_ptr<PackableLinear> fc1_;
  std::shared_ptr<PackableLinear> fc2_;
};

}  // namespace cskd::models::transformer

// An encoder with a linear layer on its pooled features: the projector of Stage I, which may have a second one for
// tokens, and the score head of Stage II.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <torch/nn/module.h>
#include <torch/nn/modules/linear.h>

#include "models/compute_settings.h"
#include "models/encoder.h"

namespace cskd::models {

inline constexpr const char* kProjector = "projector";
inline constexpr const char* kScoreHead = "score_head";
inline constexpr const char* kTokenProjector = "token_projector";

class HeadedEncoder : public torch::nn::Module {
 public:
  // Takes the encoder; the layer has `outputs` outputs and is named `head` in weight files.
  HeadedEncoder(std::shared_ptr<Encoder> encoder, std::string head, std::int64_t outputs);

  // images as Encoder::forward(), float32 in any memory format; [N, outputs] float32. For a score head: logits of the
  // distribution over bins.
  torch::Tensor forward(const torch::Tensor& images);

  // forward(), the pooled features [N, D] float32 that it comes from, and what the encoder was asked for beside them,
  // in the type that it computes with.
  struct WithFeatures {
    torch::Tensor outputs, pooled;
    Features asked;
  };
  WithFeatures forward_with_features(const torch::Tensor& images, const Request& request = {});

  // The rest of forward(), from pooled features [N, D]: [N, outputs] float32.
  torch::Tensor forward_from(const torch::Tensor& pooled);

  // The linear layer by itself, on features [N, D] as it sees them (whiten_features()): [N, outputs] float32.
  torch::Tensor score(const torch::Tensor& features) { return head_(features).to(torch::kFloat); }

  // Adds a second linear layer, for tokens, named kTokenProjector in weight files. Before anything else.
  void add_token_projector(std::int64_t outputs);

  // forward() as `pooled`, and the projected tokens [N, grid * grid, outputs] float32.
  // REQUIRES: there is a token projector
  Features project(const torch::Tensor& images);

  // How forward() computes from now on. Gives parameters other memory: before anyone keeps them. At first
  // ComputeSettings{} without the layout of parameters.
  void use(const ComputeSettings& settings);
  const ComputeSettings& settings() const { return settings_; }

  // Whether the head sees pooled features whitened: LayerNorm without affine parameters, as the targets of Stage I
  // (losses/alignment.h). Not at first.
  void whiten_features(bool whitens) { whitens_ = whitens; }
  bool whitens_features() const { return whitens_; }

  // In training mode forward() sets pooled features to zero with this probability, from 0 to below 1, and scales the
  // others up (Srivastava et al., JMLR 15, 2014). 0 at first.
  void set_feature_dropout(double probability) { feature_dropout_ = probability; }

  Encoder& encoder() { return *encoder_; }
  // Whether the parameter of this name in weight files is the head's, or the token projector's.
  bool is_head(const std::string& name) const;
  const EncoderShape& shape() const { return encoder_->shape(); }

  // Parameters that require gradients, and all parameters with statistics(), under the names of weight files: the
  // encoder's own, without prefix, and "<head>.weight", "<head>.bias".
  std::vector<std::pair<std::string, torch::Tensor>> trainable();
  std::vector<std::pair<std::string, torch::Tensor>> state();
  // Running statistics of BatchNorm (is_statistic()), which a forward pass in training mode changes.
  std::vector<std::pair<std::string, torch::Tensor>> statistics();

  // Copies from `weights` (as state(); more names are allowed). Throws DataError naming `origin` when one is missing or
  // has another shape; with `encoder_only` the head is left as it is.
  void load(const std::map<std::string, torch::Tensor>& weights, const std::string& origin, bool encoder_only);

 private:
  std::string file_name(const std::string& module_name) const;

  std::shared_ptr<Encoder> encoder_;
  std::string head_name_;
  torch::nn::Linear head_{nullptr};
  torch::nn::Linear token_projector_{nullptr};
  double feature_dropout_ = 0;
  bool whitens_ = false;
  ComputeSettings settings_;
};

// uint8 pixels [N, S, S, 3] to what the encoder takes: [N, 3, S, S], normalised, channels last in memory.
torch::Tensor normalise(const torch::Tensor& pixels, const EncoderShape& shape);

}  // namespace cskd::models

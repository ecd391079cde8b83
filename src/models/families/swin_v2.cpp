#include "models/families/swin_v2.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include <torch/types.h>

#include "models/families/constant.h"
#include "models/families/swin_stages.h"

namespace cskd::models {
namespace {

using torch::Tensor;

constexpr int kHiddenBiases = 512;
constexpr double kMostBias = 16;

// One coordinate of a relative position: logarithmic, in units of the window in which the weights were learned.
float coordinate(int distance, int learned_window) {
  const double scaled = 8.0 * distance / std::max(learned_window - 1, 1);
  return static_cast<float>(std::copysign(std::log2(std::abs(scaled) + 1) / std::log2(8), scaled));
}

// [(2 side - 1)^2, 2]
Tensor coordinates_of(int side, int learned_window) {
  std::vector<float> values;
  for (int row = 1 - side; row < side; ++row) {
    for (int column = 1 - side; column < side; ++column) {
      values.push_back(coordinate(row, learned_window));
      values.push_back(coordinate(column, learned_window));
    }
  }
  return torch::tensor(values).view({-1, 2});
}

// Cosines of queries and keys, scaled for every head, and biases that an MLP makes of relative positions.
class CosineAttention final : public WindowAttention {
 public:
  // learned_window: tokens a side of the windows in which the weights were learned; 0: of these
  CosineAttention(const AttentionPlace& place, int learned_window)
      : windows_(place.windows),
        heads_(place.heads),
        coordinates_([side = windows_->side(), learned = learned_window > 0 ? learned_window : windows_->side()] {
          return coordinates_of(side, learned);
        }) {
    const int width = place.width;
    log_scale_ = register_parameter("logit_scale", torch::full({heads_, 1, 1}, std::log(10.0)));
    const auto mlp = register_module("cpb_mlp", std::make_shared<torch::nn::Module>("Mlp"));
    hidden_biases_ = mlp->register_module("0", swin_linear(2, kHiddenBiases));
    biases_ = mlp->register_module("2", swin_linear(kHiddenBiases, place.heads, /*has_bias=*/false));
    qkv_ = register_module("qkv", swin_linear(width, 3 * width, /*has_bias=*/false));
    query_bias_ = register_parameter("q_bias", torch::zeros({width}));
    value_bias_ = register_parameter("v_bias", torch::zeros({width}));
    out_ = register_module("proj", swin_linear(width, width));
  }

  Tensor forward(const Tensor& windows) override {
    const Tensor bias = torch::cat({query_bias_, torch::zeros_like(query_bias_), value_bias_});
    const Tensor qkv = qkv_->forward(windows, bias).unflatten(2, {3, heads_, -1});
    // A scale for each head, 100 at most, goes with the queries.
    const Tensor queries_keys = qkv.slice(2, 0, 2);
    const Tensor lengths = at::linalg_vector_norm(queries_keys, 2, -1, /*keepdim=*/true).clamp_min(1e-12);
    const Tensor scale = log_scale_.clamp_max(std::log(100.0)).exp().view({heads_, 1});
    const Tensor directions = queries_keys * (torch::stack({scale, torch::ones_like(scale)}) / lengths);
    const auto by_head = [](const Tensor& part) { return part.transpose(1, 2); };
    return out_->forward(windows_->attend(by_head(directions.select(2, 0)), by_head(directions.select(2, 1)),
                                          by_head(qkv.select(2, 2)), windows_->bias_of(bias_table()), /*scale=*/1));
  }

 private:
  Tensor bias_table() {
    const Tensor& weight = hidden_biases_->weight;
    const Tensor coordinates = coordinates_.on(weight.device(), weight.scalar_type());
    return kMostBias * torch::sigmoid(biases_->forward(torch::relu(hidden_biases_->forward(coordinates))));
  }

  std::shared_ptr<const ShiftedWindows> windows_;
  std::int64_t heads_;
  Constant coordinates_;
  Tensor log_scale_;
  std::shared_ptr<PackableLinear> hidden_biases_;
  std::shared_ptr<PackableLinear> biases_;
  std::shared_ptr<PackableLinear> qkv_;
  Tensor query_bias_;
  Tensor value_bias_;
  std::shared_ptr<PackableLinear> out_;
};

// Windows in which a stage's weights were learned; 0: in those that it has.
using LearnedWindows = std::array<int, 4>;

EncoderEntry swin_v2_entry(const std::string& name, int image_size, const SwinSize& size,
                           const LearnedWindows& learned = {}) {
  EncoderEntry made = swin_entry(name, image_size, size);
  made.parameters.embeddings =
      in_every_attention(size, {"logit_scale", "cpb_mlp.0.weight", "cpb_mlp.0.bias", "cpb_mlp.2.weight"});
  made.make = [=](const EncoderShape& shape) {
    return make_swin(shape, size, {.has_norms_behind = true, .attention = [=](const AttentionPlace& place) {
                                     return std::make_shared<CosineAttention>(place, learned[place.stage]);
                                   }});
  };
  return made;
}

}  // namespace

std::vector<EncoderEntry> swin_v2_entries() {
  constexpr std::array<int, 4> kShallow{2, 2, 6, 2};
  constexpr std::array<int, 4> kDeep{2, 2, 18, 2};
  const auto tiny = [](int window) { return SwinSize{96, kShallow, {3, 6, 12, 24}, window}; };
  const auto small = [](int window) { return SwinSize{96, kDeep, {3, 6, 12, 24}, window}; };
  const auto base = [](int window) { return SwinSize{128, kDeep, {4, 8, 16, 32}, window}; };
  const auto large = [](int window) { return SwinSize{192, kDeep, {6, 12, 24, 48}, window}; };
  constexpr LearnedWindows kAt192{12, 12, 12, 6};
  return {
      swin_v2_entry("swinv2_tiny_window8_256", 256, tiny(8)),
      swin_v2_entry("swinv2_tiny_window16_256", 256, tiny(16)),
      swin_v2_entry("swinv2_small_window8_256", 256, small(8)),
      swin_v2_entry("swinv2_small_window16_256", 256, small(16)),
      swin_v2_entry("swinv2_base_window8_256", 256, base(8)),
      swin_v2_entry("swinv2_base_window16_256", 256, base(16)),
      swin_v2_entry("swinv2_base_window12_192", 192, base(12)),
      swin_v2_entry("swinv2_base_window12to16_192to256", 256, base(16), kAt192),
      swin_v2_entry("swinv2_base_window12to24_192to384", 384, base(24), kAt192),
      swin_v2_entry("swinv2_large_window12_192", 192, large(12)),
      swin_v2_entry("swinv2_large_window12to16_192to256", 256, large(16), kAt192),
      swin_v2_entry("swinv2_large_window12to24_192to384", 384, large(24), kAt192),
  };
}

}  // namespace cskd::models

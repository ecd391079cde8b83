// An encoder as the registry knows it. A family gives a list of them.
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "models/encoder.h"
#include "models/weights/weight_layout.h"

namespace cskd::models {

// Mean and standard deviation of the training pictures by channel, pixels in [0, 1].
struct Normalisation {
  std::array<float, 3> mean;
  std::array<float, 3> stddev;
};
inline constexpr Normalisation kClipNormalisation{{0.48145466F, 0.4578275F, 0.40821073F},
                                                  {0.26862954F, 0.26130258F, 0.27577711F}};
inline constexpr Normalisation kImageNetNormalisation{{0.485F, 0.456F, 0.406F}, {0.229F, 0.224F, 0.225F}};
inline constexpr Normalisation kHalfNormalisation{{0.5F, 0.5F, 0.5F}, {0.5F, 0.5F, 0.5F}};
inline constexpr Normalisation kUnitNormalisation{{0.0F, 0.0F, 0.0F}, {1.0F, 1.0F, 1.0F}};  // pixels as they are

// Which GELU an encoder has whose structure comes with two: x Phi(x) by erf, and QuickGELU, x sigmoid(1.702 x). Weights
// belong to one of them, and their tensors do not tell which.
struct GeluForm {
  bool is_quick = false;
  std::string other;  // the encoder with the other form
};

struct EncoderEntry {
  std::string name;
  int image_size = 0;  // pixels; others must be multiples of the stride, unless it takes any size
  Normalisation normalisation;
  int stride = 0;  // pixels of the image a side of a token
  // A grid of image size / stride, rounded up: every halving keeps half a place at the border.
  bool takes_any_size = false;
  // Tokens a side, 0 where there are none, of an encoder that takes no other image size; stride is 0 then.
  std::optional<int> fixed_grid;
  int pooled_width = 0;
  int token_width = 0;
  int attention_layers = 0;
  ParameterNames parameters;
  bool normalises_batches = false;  // computes with statistics of the batch while it is trained
  bool has_drop_path = true;
  std::optional<GeluForm> gelu;  // of those with a counterpart
  // Whose names the parameters bear, as reports call it: "timm", "open_clip".
  std::string home;
  // Of weight files with other names than the home's.
  std::vector<WeightLayout> layouts;
  std::vector<LeftOut> left_out;  // of files in any layout
  std::vector<UnusableTensor> unusable;
  // How a tensor that depends on the image size (positions, tables of biases) is made for this encoder's size from one
  // for another; undefined for any other tensor. Null: such files are refused.
  std::function<torch::Tensor(const std::string& name, const torch::Tensor& stored, at::IntArrayRef shape)> resample;
  std::string licence;  // of the published weights, "" where there are none
  // With random weights, of this shape.
  std::function<std::shared_ptr<Encoder>(const EncoderShape& shape)> make;
};

}  // namespace cskd::models

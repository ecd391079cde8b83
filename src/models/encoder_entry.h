// An encoder as the registry knows it. A family gives a list of them.
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "models/encoder.h"

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

struct EncoderEntry {
  std::string name;
  int image_size = 0;  // pixels; any multiple of the stride will do
  Normalisation normalisation;
  int stride = 0;  // pixels of the image a side of a token
  int pooled_width = 0;
  int token_width = 0;
  int attention_layers = 0;
  ParameterNames parameters;
  bool normalises_batches = false;  // computes with statistics of the batch while it is trained
  // With random weights, of this shape.
  std::function<std::shared_ptr<Encoder>(const EncoderShape& shape)> make;
};

}  // namespace cskd::models

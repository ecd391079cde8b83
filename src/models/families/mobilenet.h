// MobileNetV2 (https://arxiv.org/abs/1801.04381), V3 (https://arxiv.org/abs/1905.02244) and V4
// (https://arxiv.org/abs/2404.10518) as timm builds and names them.
#pragma once

#include <vector>

#include "models/encoder_entry.h"

namespace cskd::models {

// tf_*: with TensorFlow's padding and the epsilon of its norms, 1e-3. torchvision's files of MobileNetV2, and of V3 at
// full width, are read, too.
std::vector<EncoderEntry> mobilenet_entries();

}  // namespace cskd::models

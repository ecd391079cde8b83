// MobileNetV3 (https://arxiv.org/abs/1905.02244) as timm builds and names it.
#pragma once

#include <vector>

#include "models/encoder_entry.h"

namespace cskd::models {

// Pooled is the mean of the last feature map after conv_head and hard-swish, tokens are that map's places before
// pooling. The batch statistics are BatchNorm's: eps 1e-5, momentum 0.1.
std::vector<EncoderEntry> mobilenet_v3_entries();

}  // namespace cskd::models

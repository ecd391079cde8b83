// Swin Transformer V2 (https://arxiv.org/abs/2111.09883) as timm builds and names it.
#pragma once

#include <vector>

#include "models/encoder_entry.h"

namespace cskd::models {

// Tokens are the places of the last feature map after the last norm, pooled is their mean. LayerNorm: eps 1e-5. Weights
// do not depend on the image size: biases are computed from positions.
std::vector<EncoderEntry> swin_v2_entries();

}  // namespace cskd::models

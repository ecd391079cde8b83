// ConvNeXt (https://arxiv.org/abs/2201.03545) and ConvNeXt V2 (https://arxiv.org/abs/2301.00808) as timm builds and
// names them, and those among open_clip's image towers that are ConvNeXts, by open_clip's names.
#pragma once

#include <vector>

#include "models/encoder_entry.h"

namespace cskd::models {

// Tokens are the places of the last feature map, pooled is their mean after the head's norm. LayerNorm: eps 1e-6.
std::vector<EncoderEntry> convnext_entries();

}  // namespace cskd::models

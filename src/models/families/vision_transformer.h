// Vision Transformer (https://arxiv.org/abs/2010.11929) in the two forms that weight files come in: CLIP's image tower
// as open_clip builds it, and timm's.
#pragma once

#include <vector>

#include "models/encoder_entry.h"

namespace cskd::models {

// Pooled is the class token, tokens are the others, both after the last norm.
std::vector<EncoderEntry> vision_transformer_entries();

}  // namespace cskd::models

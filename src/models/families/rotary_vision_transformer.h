// Vision transformers with rotary embeddings of positions: DINOv3 (https://arxiv.org/abs/2508.10104) as timm builds it.
#pragma once

#include <vector>

#include "models/encoder_entry.h"

namespace cskd::models {

// Pooled is the mean of the patches' tokens, as timm pools them (the paper's authors take the class token); both after
// the last norm. Any image size will do for any file: angles follow from the grid, and none are stored.
//
// Of each structure there is one with biases for queries and values (vit_*_dinov3_qkvb) and one without. Facebook's and
// Hugging Face's files hold such biases, and only the former reads them.
std::vector<EncoderEntry> rotary_vision_transformer_entries();

}  // namespace cskd::models

// Swin Transformer (https://arxiv.org/abs/2103.14030) as timm builds and names it.
#pragma once

#include <vector>

#include "models/encoder_entry.h"

namespace cskd::models {

// Tokens are the places of the last feature map after the last norm, pooled is their mean. LayerNorm: eps 1e-5. From a
// file for another window, or for an image size at which windows are smaller, tables of biases are resampled.
std::vector<EncoderEntry> swin_entries();

}  // namespace cskd::models

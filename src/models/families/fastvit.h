// FastViT (https://arxiv.org/abs/2303.14189) and the image towers of MobileCLIP (https://arxiv.org/abs/2311.17049) and
// MobileCLIP2 (https://arxiv.org/abs/2508.20691) that are built from its blocks, as timm builds and names them, with
// the branches that are trained.
#pragma once

#include <vector>

#include "models/encoder_entry.h"

namespace cskd::models {

// Tokens are the places of the last feature map, after the last convolution and its GELU; pooled is their mean, before
// MobileCLIP's projection. BatchNorm: eps 1e-5, momentum 0.1.
//
// Blocks with self-attention, of the last stage (of the last two in fastvit_mci3 and mci4, where the first has twice
// the places a side), are counted from 0 as layers with attention; there is no class token among their tokens.
//
// Files with Apple's names are read, too; such in inference form, whose branches are folded already, are refused.
std::vector<EncoderEntry> fastvit_entries();

}  // namespace cskd::models

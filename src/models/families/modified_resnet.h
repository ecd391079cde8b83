// CLIP's ModifiedResNet (https://arxiv.org/abs/2103.00020, section 2.4) as open_clip builds and names it.
#pragma once

#include <vector>

#include "models/encoder_entry.h"

namespace cskd::models {

// A ResNet with three convolutions in its stem, average pooling in place of every stride behind it, and attention in
// place of the last pooling: one query, the mean of the last feature map's places, asks all places and itself.
//
// Pooled is what that attention gives: CLIP's feature itself, of the embedding's width, since the projection to it
// (attnpool.c_proj) is part of the pooling, while a ViT's `proj` stands behind its pooled features. Tokens are the last
// feature map before the pooling, four times as wide or more. Its positions are learned, and resampled for another
// image size as timm does. ReLU throughout: QuickGELU is the text tower's alone, so that "RN50" is the tower of
// "RN50-quickgelu", too.
std::vector<EncoderEntry> modified_resnet_entries();

}  // namespace cskd::models

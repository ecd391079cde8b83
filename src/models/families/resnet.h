// ResNet (https://arxiv.org/abs/1512.03385) as timm builds and names it, with the stride in the 3 x 3 convolution.
#pragma once

#include <vector>

#include "models/encoder_entry.h"

namespace cskd::models {

// Tokens are the places of the last feature map, pooled is their mean. BatchNorm: eps 1e-5, momentum 0.1. torchvision's
// files bear the same names; those of Hugging Face (ResNetModel) are read, too.
std::vector<EncoderEntry> resnet_entries();

}  // namespace cskd::models

// MobileOne (https://arxiv.org/abs/2206.04040) as timm builds and names it, with the branches that are trained.
#pragma once

#include <vector>

#include "models/encoder_entry.h"

namespace cskd::models {

// Tokens are the places of the last feature map, pooled is their mean. BatchNorm: eps 1e-5, momentum 0.1. Files with
// Apple's names are read, too; such in inference form, whose branches are folded already, are refused.
std::vector<EncoderEntry> mobileone_entries();

}  // namespace cskd::models

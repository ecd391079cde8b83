// The encoder that a mobile plan describes, with timm's names and initial weights.
#pragma once

#include <string>

#include "models/encoder_entry.h"
#include "models/families/mobile_plan.h"

namespace cskd::models {

// Pooled is what the head makes of the mean over all places of its feature map; tokens are that map's places, after a
// head that stands before the mean and after the last block otherwise. A block's probability for drop path is timm's:
// rate * block / blocks, blocks counted over all stages.
//
// The image size is 224, and a multiple of the stride; the normalisation ImageNet's.
EncoderEntry mobile_entry(const std::string& name, const MobilePlan& plan);

}  // namespace cskd::models

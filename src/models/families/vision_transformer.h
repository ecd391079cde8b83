// Vision transformers by name: CLIP's image towers of open_clip, and timm's ViT, DeiT, SigLIP and DINOv2.
#pragma once

#include <vector>

#include "models/encoder_entry.h"

namespace cskd::models {

// SigLIP's towers have timm's GELU, by which timm and open_clip compute: with erf unless the name says otherwise there.
// The files of both generations (SigLIP, SigLIP 2) fit. Files of torchvision's ViTs belong to the encoders with its
// names (vit_b_16), or DeiT's, because timm normalises pictures for its own ViTs in another way.
std::vector<EncoderEntry> vision_transformer_entries();

}  // namespace cskd::models

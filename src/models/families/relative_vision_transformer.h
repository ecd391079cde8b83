// Vision Transformers whose attention knows positions by a bias for each relative one, and whose tokens carry none: as
// the students of Feature Distillation (https://arxiv.org/abs/2205.14141), whose blocks share one. As timm builds and
// names them: biases are a function of logarithmic distances (Swin V2, https://arxiv.org/abs/2111.09883), so that
// weights fit any size of picture.
#pragma once

#include <vector>

#include "models/encoder_entry.h"

namespace cskd::models {

// Tokens are those of the patches, there is no class token; pooled is their mean, behind the last norm or before it.
// Their attention cannot be asked for, since queries and keys alone do not tell it. Of the hidden units of the biases'
// function, timm leaves out an eighth at random in training; this does not.
std::vector<EncoderEntry> relative_vision_transformer_entries();

}  // namespace cskd::models

// Vision Transformer (https://arxiv.org/abs/2010.11929) in the two forms that weight files come in: CLIP's image tower
// as open_clip builds it, and timm's.
#pragma once

#include <memory>

#include "models/encoder.h"

namespace cskd::models {

// The forms differ in the names of their parameters, in the epsilon of LayerNorm (1e-5, 1e-6), and in that open_clip's
// has a LayerNorm before the blocks and no bias in the patch embedding.
enum class VisionTransformerForm { kOpenClip, kTimm };

enum class Gelu {
  kErf,
  kQuick  // x sigmoid(1.702 x): OpenAI's checkpoints and some others. The wrong choice fails silently.
};

struct VisionTransformerSize {
  int patch = 0;  // pixels a side
  int width = 0;
  int layers = 0;
  int heads = 0;
  int mlp_width = 0;
};

// Pooled is the class token, tokens are the others, both after the last norm. The position embedding is made for
// shape.grid * shape.grid tokens. REQUIRES: shape.grid * patch = shape.image_size; heads divide width.
std::shared_ptr<Encoder> make_vision_transformer(const EncoderShape& shape, const VisionTransformerSize& size,
                                                 VisionTransformerForm form, Gelu gelu);

}  // namespace cskd::models

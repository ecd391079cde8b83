// Vision Transformer (https://arxiv.org/abs/2010.11929) in the forms that weight files come in: CLIP's image tower as
// open_clip builds it, and timm's with the parts that DeiT, SigLIP and DINOv2 add.
#pragma once

#include <memory>

#include "models/encoder.h"
#include "models/families/transformer/block.h"

namespace cskd::models {

struct VisionTransformerSize {
  int patch = 0;  // pixels a side
  int width = 0;
  int layers = 0;
  int heads = 0;
  int mlp_width = 0;
};

struct VisionTransformerStructure {
  VisionTransformerSize size;
  transformer::Form form = transformer::Form::kTimm;
  Gelu gelu = Gelu::kErf;
  bool has_class_token = true;       // which is the pooled feature; without it an attention pool makes that
  int registers = 0;                 // learned tokens behind the class token (https://arxiv.org/abs/2309.16588)
  bool has_prefix_positions = true;  // embeddings of positions cover class token and registers, too
  double layer_scale = 0;            // see BlockSize

  // Tokens before those of the patches.
  int prefix() const { return (has_class_token ? 1 : 0) + registers; }
  // Embeddings of positions before those of the patches.
  int prefix_positions() const { return has_prefix_positions ? prefix() : 0; }
};

// Pooled is the class token or the attention pool's, tokens are those of the patches; both after the last norm, before
// the pool. Attention is among all tokens: class token, registers, patches. REQUIRES: shape.grid * patch =
// shape.image_size; heads divide width; what timm alone has (all below `gelu`) only in its form
std::shared_ptr<Encoder> make_vision_transformer(const EncoderShape& shape,
                                                 const VisionTransformerStructure& structure);

}  // namespace cskd::models

// Learned embeddings of positions, and what becomes of them at another image size.
#pragma once

#include <ATen/core/Tensor.h>

namespace cskd::models::transformer {

// Embeddings of a square grid's tokens, row by row, behind those of `prefix` other tokens: [L, D] or [1, L, D]. The
// grid's are resampled to that of `shape` by antialiased bicubic interpolation, the others stay, as timm's
// resample_abs_pos_embed() and open_clip's resize_pos_embed() do. Undefined if the tokens are no such grid or D
// differs. Meta tensors give a meta tensor.
at::Tensor resampled_positions(const at::Tensor& stored, at::IntArrayRef shape, int prefix);

}  // namespace cskd::models::transformer

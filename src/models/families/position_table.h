// Tables of biases by relative position, resampled for windows of another size as timm's resize_rel_pos_bias_table()
// does (after BEiT, https://arxiv.org/abs/2106.08254).
#pragma once

#include <torch/types.h>

namespace cskd::models {

// Note [Relative positions of another window]
// A table of s x s relative positions becomes one of t x t by bilinear interpolation. Its points are not evenly spaced:
// their distances from the middle grow in a geometric progression, fine where tokens are close, such that the outermost
// lies at the outermost wanted one.

// stored: [s * s, heads]; shape: {t * t, heads}, s and t odd. Undefined if they are no such shapes. On the meta device:
// a tensor of the shape.
torch::Tensor resampled_position_table(const torch::Tensor& stored, at::IntArrayRef shape);

}  // namespace cskd::models

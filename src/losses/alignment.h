// Stage I: how far an encoder's projected features are from CLIP's.
#pragma once

#include <ATen/core/Tensor.h>

namespace cskd::losses {

// LayerNorm over the last axis without affine parameters. Feature Distillation, arXiv 2205.14141, section 3.1.
at::Tensor whiten(const at::Tensor& features);

// Smooth-L1 with beta = 2 between `predicted` [..., D] and the whitened `target` of the same shape, mean over all
// elements: d^2 / 4 where |d| < 2, |d| - 1 elsewhere. Feature Distillation, eq. 2. A scalar.
at::Tensor whitened_smooth_l1(const at::Tensor& predicted, const at::Tensor& target);

// Mean over all vectors [..., D] of 1 - cos(predicted, whitened target). A scalar.
at::Tensor cosine_distance(const at::Tensor& predicted, const at::Tensor& target);

// Unit vectors of `features` [N, D], whitened or not: what is compared by relational_distance().
at::Tensor directions(const at::Tensor& features);

// How differently `predicted` and the whitened `target`, both [N, D], are placed among other pictures, `others`
// [Q, D] unit vectors of whitened targets: KL divergence from softmax(cos(target, others) / temperature) to the same of
// `predicted`, mean over N. Similarity distillation over a queue (SEED, Fang et al., arXiv 2101.04731, eq. 3), as the
// relational term of LightlyTrain's distillation. A scalar.
at::Tensor relational_distance(const at::Tensor& predicted, const at::Tensor& target, const at::Tensor& others,
                               double temperature);

// Tokens [N, grid * grid, D] on a grid of `side` a side: adaptive average pooling, never up.
// REQUIRES: side <= grid
at::Tensor on_grid(const at::Tensor& tokens, int grid, int side);

}  // namespace cskd::losses

// Distances over which attention reaches, and how far a student's are from a reference's. Maps [B, H, N, N] are over
// the N = grid * grid patches of a picture, row by row from the top left; rows sum to 1.
#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>

namespace cskd::losses {

// Where the patches lie among the L tokens of a layer's attention: behind `prefix` others (class token, registers), on
// a grid of their own. `grid` is that of the encoder's tokens; a layer before may have one that is finer by a whole
// factor. CheckFailure where L fits neither.
struct PatchPlaces {
  int prefix = 0;
  int grid = 0;
};
PatchPlaces patch_places(std::int64_t tokens, int grid);

// Maps of patches over patches, float32: rows of softmax(queries keys^T / sqrt(d)) without the other tokens,
// renormalised. Queries and keys: [B, H, L, d].
at::Tensor patch_attention(const at::Tensor& queries, const at::Tensor& keys, const PatchPlaces& places);

// The same form for encoders of any kind, [B, 1, M, M] with M = pooled_grid * pooled_grid: softmax over k of
// cos(f_q, f_k) / 0.1, the diagonal left out, of spatial tokens f [B, N, D] that are average-pooled to the pooled grid.
// Not to be compared with real attention. REQUIRES: 2 <= pooled_grid <= grid
at::Tensor token_affinity(const at::Tensor& tokens, int grid, int pooled_grid);

// Euclidean distances [N, N] of the places of patches, float32, in units of the grid's diagonal, which is that of the
// outermost patches: sqrt(2) * (grid - 1). REQUIRES: grid >= 2
at::Tensor patch_distances(int grid);

// Mean attention distance of each map, [B, H] in units of the grid's diagonal:
// (1/N) sum_q sum_k A_qk |pos_q - pos_k|. Dosovitskiy et al., arXiv 2010.11929, figure 7; Raghu et al., arXiv
// 2108.08810, section 4.
at::Tensor attention_distance(const at::Tensor& maps, const at::Tensor& distances);

// How far the student's attention distances are from the reference's, [B, layers, heads] each with heads of their own
// number: the mean over pictures and layers of |mean over heads - reference's| + |standard deviation over heads -
// reference's| / 2. Only these moments are matched: a student that copies whole maps gets worse. A scalar. [ours]
at::Tensor distance_of_moments(const at::Tensor& student, const at::Tensor& reference);

}  // namespace cskd::losses

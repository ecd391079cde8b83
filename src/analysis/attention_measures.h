// Measures of attention beside its distance (losses/attention.h): its entropy, the likeness of heads (docs/analysis.md,
// "Attention"). Pure functions on maps [B, H, N, N] over the N = grid * grid patches of a picture, row by row from the
// top left; rows sum to 1.
#pragma once

#include <ATen/core/Tensor.h>

namespace cskd::analysis {

// Mean entropy of the rows of each map, [B, H] in nats: -(1/N) sum_q sum_k A_qk log A_qk; at most log N.
at::Tensor attention_entropy(const at::Tensor& maps);

// Mean over pairs of heads of the cosine of their maps, [B]; lower is more diverse. NaN with one head.
at::Tensor head_similarity(const at::Tensor& maps);

// Share of the attention at each distance, [B, H, bins]: bin b holds [b / bins, (b + 1) / bins), the last one also 1.
at::Tensor distance_histogram(const at::Tensor& maps, const at::Tensor& distances, int bins);

}  // namespace cskd::analysis

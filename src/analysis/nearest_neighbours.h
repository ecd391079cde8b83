// Scores of a picture's nearest neighbours by the cosine of frozen features. Pure functions.
#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>

namespace cskd::analysis {

// The nearest of each of Q pictures, the nearest one first; [Q, K] each, float64.
struct Neighbours {
  at::Tensor similarities;  // cosines; -infinity where there is none
  at::Tensor scores;
};

// Of `queries` [Q, D] among `features` [n, D] with `scores` [n]. Where n < count the rest are none. Which of equally
// near ones are taken is left open.
Neighbours nearest_neighbours(const at::Tensor& queries, const at::Tensor& features, const at::Tensor& scores,
                              std::int64_t count);

// The nearest `count` of both, for the same queries.
Neighbours merged(const Neighbours& first, const Neighbours& second, std::int64_t count);

// Mean score of each query's neighbours, [Q]. REQUIRES: each has one
at::Tensor mean_score(const Neighbours& neighbours);

}  // namespace cskd::analysis

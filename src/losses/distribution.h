// Stage II: how far score distributions over K ordered bins are from each other.
#pragma once

#include <ATen/core/Tensor.h>

namespace cskd::losses {

// Squared Earth Mover's Distance for each sample: (1/K) sum_k (CDF_p(k) - CDF_q(k))^2, for p, q [N, K] whose rows sum
// to 1. NIMA, arXiv 1709.05424, eq. 1 with r = 2, without the root, as it is trained. [N]
at::Tensor squared_emd(const at::Tensor& p, const at::Tensor& q);

// Mean score of each distribution [N, K] over bin centres [K]. [N]
at::Tensor mean_score(const at::Tensor& distribution, const at::Tensor& bin_centres);

// Trust in pseudo-labels: exp(-penalty * variance over views of the teacher's mean score), for mean scores [N, V]; the
// variance divides by V. [N]
at::Tensor pseudo_label_weight(const at::Tensor& mean_scores, double penalty);

// Whether `predicted` [N] puts pictures into the order of `wanted` [N]: the mean of log(1 + exp(-(p_i - p_j))) over all
// pairs of pictures that count (`counts` [N], bool) with wanted_i - wanted_j >= margin; 0 where there is no such pair.
// RankNet (Burges et al., ICML 2005, eq. 3), as in RankUp (arXiv 2410.22124). A scalar.
at::Tensor rank_distance(const at::Tensor& predicted, const at::Tensor& wanted, const at::Tensor& counts,
                         double margin);

}  // namespace cskd::losses

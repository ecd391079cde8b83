// Measures of collapse: effective rank, spread, uniformity, CKA (docs/analysis.md, "Collapse"). Computed from sums over
// pictures, which ranks add up, so that none needs the features of all. Pure functions on float64.
#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>

namespace cskd::analysis {

inline constexpr double kLeastNorm = 1e-12;  // of a vector that is made one of length 1

// Sums over n pictures of features x, with d = x / |x|.
struct FeatureSums {
  at::Tensor products;           // [D, D] sum of x x^T
  at::Tensor total;              // [D] sum of x
  at::Tensor direction_total;    // [D] sum of d
  at::Tensor direction_squares;  // [D] sum of d^2, number by number
};

// `features` [n, D] of any floating type.
FeatureSums feature_sums(const at::Tensor& features);

// x / |x| of every row, float64.
at::Tensor directions(const at::Tensor& features);

// Singular values of the matrix of all features [n, D], falling: the roots of the eigenvalues of `products`.
// [min(n, D)]; those below 1e-8 of the first are rounding.
at::Tensor singular_values(const at::Tensor& products, std::int64_t n);

// RankMe, the effective rank: exp(-sum_k p_k log p_k) with p_k = sigma_k / sum(sigma) + 1e-7. Garrido et al., arXiv
// 2210.02885, section 3. From 1, all features on one line, to about the number of singular values.
double rank_me(const at::Tensor& singular_values);

// Mean over dimensions of the standard deviation of d over n pictures (divided by n). Chen and He, arXiv 2011.10566,
// section 4.1: 0 when collapsed, at most 1 / sqrt(D), which isotropic features come near.
double direction_std(const FeatureSums& sums, std::int64_t n);

// Sum over all pairs of a row of `first` [n, D] and one of `second` [m, D] of exp(-2 |a - b|^2).
double pair_potential(const at::Tensor& first, const at::Tensor& second);

// Uniformity: log of the mean over pairs of two different pictures of exp(-2 |d - d'|^2). Wang and Isola, arXiv
// 2005.10242, equation 2 with t = 2. 0 when collapsed; lower is more uniform. `potential` is pair_potential() of all
// directions with themselves. REQUIRES: n >= 2
double uniformity(double potential, std::int64_t n);

// Linear CKA of the features x and y of the same n pictures: |X^T Y|^2 / (|X^T X| |Y^T Y|) in Frobenius norms, of
// centred columns. Kornblith et al., arXiv 1905.00414, section 3. `cross` [D, E] is the sum of x y^T. NaN where one of
// them is constant.
double linear_cka(const FeatureSums& x, const FeatureSums& y, const at::Tensor& cross, std::int64_t n);

}  // namespace cskd::analysis

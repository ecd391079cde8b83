// Ridge regression of scores on frozen features, in closed form from sums over pictures, which ranks add up. Pure
// functions on float64.
#pragma once

#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

namespace cskd::optim {

// All that ridge regression needs of n pictures: [D + 2, D + 2], the sum of z z^T with z = (x, y, 1). The sums of two
// sets of pictures add up to those of both. `features` [n, D], `scores` [n].
at::Tensor ridge_sums(const at::Tensor& features, const at::Tensor& scores);

// A linear function of features: weights . x + intercept.
struct LinearFunction {
  at::Tensor weights;  // [D]
  double intercept = 0;

  at::Tensor operator()(const at::Tensor& features) const;  // [n, D] to [n], float64
};

// Ridge regressions of one set of pictures for any penalty. With features standardised by their mean and (population)
// standard deviation over the set, w and b minimise
//   (1/n) sum (y - b - w . x)^2 + alpha |w|^2,
// which is scikit-learn's StandardScaler and Ridge with n times the alpha. Hoerl and Kennard 1970. A feature that is
// constant over the set gets the weight 0. One eigendecomposition serves all penalties.
class Ridge {
 public:
  explicit Ridge(const at::Tensor& sums);  // REQUIRES: of one picture at least

  // REQUIRES: alpha > 0
  LinearFunction solve(double alpha) const;

 private:
  at::Tensor mean_, scale_;  // [D]; the scale of a constant is 0
  double mean_score_ = 0;
  at::Tensor eigenvalues_, eigenvectors_;  // of the correlations of features
  at::Tensor projected_;                   // eigenvectors^T (covariances of features and scores)
};

// Sum over the pictures of `sums` of (y - function(x))^2.
double squared_error(const LinearFunction& function, const at::Tensor& sums);

// Penalties that cross-validation chooses among: 19 from 1e-6 to 1e3, evenly on a logarithmic scale.
const std::vector<double>& penalties();

struct ChosenRidge {
  LinearFunction function;  // of all folds together
  double alpha = 0;
  double r2 = 0;  // of the folds that were left out: 1 - squared error / squares about the mean; NaN of equal scores
};
// `folds`: ridge_sums() of each fold. The penalty with the least squared error on the fold that was left out, summed
// over folds; the larger one of two equal ones. REQUIRES: at least two folds, none empty
ChosenRidge cross_validated_ridge(const std::vector<at::Tensor>& folds);

}  // namespace cskd::optim

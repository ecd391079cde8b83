#include "losses/distribution.h"

#include <ATen/ATen.h>

namespace cskd::losses {

at::Tensor squared_emd(const at::Tensor& p, const at::Tensor& q) { return (p - q).cumsum(1).square().mean(1); }

at::Tensor mean_score(const at::Tensor& distribution, const at::Tensor& bin_centres) {
  return distribution.matmul(bin_centres);
}

at::Tensor pseudo_label_weight(const at::Tensor& mean_scores, double penalty) {
  return at::exp(-penalty * at::var(mean_scores, at::OptionalIntArrayRef({1}), 0));
}

}  // namespace cskd::losses

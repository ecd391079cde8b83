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

at::Tensor rank_distance(const at::Tensor& predicted, const at::Tensor& wanted, const at::Tensor& counts,
                         double margin) {
  const auto differences = [](const at::Tensor& values) { return values.unsqueeze(1) - values.unsqueeze(0); };
  const at::Tensor is_pair = (differences(wanted) >= margin)
                                 .logical_and(differences(wanted) > 0)
                                 .logical_and(counts.unsqueeze(1))
                                 .logical_and(counts.unsqueeze(0));
  const at::Tensor each = at::softplus(-differences(predicted));
  return at::where(is_pair, each, 0.0).sum() / is_pair.sum().clamp_min(1);
}

}  // namespace cskd::losses

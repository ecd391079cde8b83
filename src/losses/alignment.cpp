#include "losses/alignment.h"

#include <ATen/ATen.h>

namespace cskd::losses {
namespace {

constexpr double kBeta = 2;

}  // namespace

at::Tensor whiten(const at::Tensor& features) { return at::layer_norm(features, {features.size(-1)}); }

at::Tensor whitened_smooth_l1(const at::Tensor& predicted, const at::Tensor& target) {
  return at::smooth_l1_loss(predicted, whiten(target), at::Reduction::Mean, kBeta);
}

at::Tensor cosine_distance(const at::Tensor& predicted, const at::Tensor& target) {
  return (1 - at::cosine_similarity(predicted, whiten(target), 1, 1e-6)).mean();
}

}  // namespace cskd::losses

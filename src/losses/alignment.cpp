#include "losses/alignment.h"

#include <ATen/ATen.h>

#include "runtime/check.h"

namespace cskd::losses {
namespace {

constexpr double kBeta = 2;

}  // namespace

at::Tensor whiten(const at::Tensor& features) { return at::layer_norm(features, {features.size(-1)}); }

at::Tensor whitened_smooth_l1(const at::Tensor& predicted, const at::Tensor& target) {
  return at::smooth_l1_loss(predicted, whiten(target), at::Reduction::Mean, kBeta);
}

at::Tensor cosine_distance(const at::Tensor& predicted, const at::Tensor& target) {
  return (1 - at::cosine_similarity(predicted, whiten(target), -1, 1e-6)).mean();
}

at::Tensor directions(const at::Tensor& features) { return features / features.norm(2, -1, true).clamp_min(1e-6); }

at::Tensor relational_distance(const at::Tensor& predicted, const at::Tensor& target, const at::Tensor& others,
                               double temperature) {
  const auto among_others = [&](const at::Tensor& features) {
    return at::log_softmax(at::mm(directions(features), others.t()) / temperature, 1);
  };
  const at::Tensor wanted = among_others(whiten(target));
  return (wanted.exp() * (wanted - among_others(predicted))).sum(1).mean();
}

at::Tensor on_grid(const at::Tensor& tokens, int grid, int side) {
  CSKD_CHECK(side <= grid && tokens.size(1) == std::int64_t{grid} * grid, "{} tokens to a grid of {}", tokens.size(1),
             side);
  if (side == grid) return tokens;
  const at::Tensor map = tokens.transpose(1, 2).unflatten(2, {grid, grid});
  return at::adaptive_avg_pool2d(map, {side, side}).flatten(2).transpose(1, 2);
}

}  // namespace cskd::losses

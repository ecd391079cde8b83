#include "models/families/reparameterised/kernel.h"

#include <algorithm>
#include <utility>

#include <torch/nn/modules/batchnorm.h>
#include <torch/types.h>
#include <torch/utils.h>

#include "runtime/check.h"

namespace cskd::models::reparameterised {
namespace {

using torch::Tensor;

Tensor widened(const Tensor& weight, std::int64_t side) {
  const std::int64_t border = (side - weight.size(3)) / 2;
  return border == 0 ? weight : at::constant_pad_nd(weight, {border, border, border, border});
}

}  // namespace

Kernel sum(const Kernel& a, const Kernel& b) {
  if (!a.weight.defined()) return b;
  if (!b.weight.defined()) return a;
  const std::int64_t side = std::max(a.weight.size(3), b.weight.size(3));
  return {.weight = widened(a.weight, side) + widened(b.weight, side), .bias = a.bias + b.bias};
}

Kernel scaled(const Kernel& kernel, const Tensor& factor) {
  return {.weight = kernel.weight * factor.view({-1, 1, 1, 1}), .bias = kernel.bias * factor};
}

Kernel by_channel(const Tensor& scale, const Tensor& shift, std::int64_t groups) {
  const std::int64_t width = scale.size(0);
  const std::int64_t inputs = width / groups;
  const Tensor own = torch::arange(width, scale.options().dtype(torch::kLong)).remainder_(inputs);
  const Tensor weight =
      torch::zeros({width, inputs}, scale.options()).scatter_(1, own.unsqueeze(1), scale.unsqueeze(1));
  return {.weight = weight.view({width, inputs, 1, 1}), .bias = shift};
}

Kernel by_channel(const torch::nn::BatchNorm2d& norm, std::int64_t groups) {
  const torch::NoGradGuard no_gradients;
  const Tensor variance = norm->running_var.to(torch::kDouble) + norm->options.eps();
  const Tensor scale = norm->weight.to(torch::kDouble) / torch::sqrt(variance);
  const Tensor shift = norm->bias - norm->running_mean * scale;
  const torch::ScalarType type = norm->weight.scalar_type();
  return by_channel(scale.to(type), shift.to(type), groups);
}

FoldedConvolution::FoldedConvolution(Kernel kernel, std::int64_t stride, std::int64_t groups)
    : kernel_(std::move(kernel)), stride_(stride), groups_(groups) {}

Tensor FoldedConvolution::operator()(const Tensor& x, bool is_training) const {
  CSKD_CHECK(!is_training, "an encoder whose branches were folded for inference cannot be trained");
  return torch::conv2d(x, kernel_.weight, kernel_.bias, stride_, kernel_.weight.size(3) / 2, 1, groups_);
}

}  // namespace cskd::models::reparameterised

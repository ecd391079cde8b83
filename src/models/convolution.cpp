#include "models/convolution.h"

#include <algorithm>
#include <array>
#include <cmath>

#include <torch/nn/init.h>
#include <torch/nn/modules/batchnorm.h>
#include <torch/nn/modules/conv.h>
#include <torch/types.h>
#include <torch/utils.h>

#include "models/strided_kernel.h"
#include "runtime/check.h"

namespace cskd::models {
namespace {

torch::nn::Conv2dOptions options_of(const ConvolutionSize& size) {
  return torch::nn::Conv2dOptions(size.in, size.out, size.kernel)
      .stride(size.stride)
      .padding(size.kernel / 2)
      .groups(size.groups)
      .bias(size.bias);
}

void draw_weights(torch::nn::Conv2dImpl& layer, const ConvolutionSize& size) {
  const double fan_out = static_cast<double>(size.kernel * size.kernel * size.out) / size.groups;
  torch::nn::init::normal_(layer.weight, 0.0, std::sqrt(2.0 / fan_out));
  if (size.bias) torch::nn::init::zeros_(layer.bias);
}

// Of both ends of a side together.
std::int64_t same_padding(std::int64_t side, std::int64_t kernel, std::int64_t stride) {
  const std::int64_t places = (side + stride - 1) / stride;
  return std::max<std::int64_t>((places - 1) * stride + kernel - side, 0);
}

}  // namespace

torch::nn::Conv2d convolution(const ConvolutionSize& size) {
  CSKD_CHECK(size.padding == Padding::kHalf, "SAME padding of a convolution without a norm");
  torch::nn::Conv2d layer(options_of(size));
  draw_weights(*layer, size);
  return layer;
}

torch::nn::BatchNorm2d batch_norm(int width, double epsilon) {
  return torch::nn::BatchNorm2d(torch::nn::BatchNorm2dOptions(width).eps(epsilon).momentum(0.1));
}

NormedConvolution::NormedConvolution(const ConvolutionSize& size, torch::nn::BatchNorm2d norm)
    : Conv2dImpl(options_of(size)), norm_(std::move(norm)), padding_(size.padding) {
  draw_weights(*this, size);
}

torch::Tensor NormedConvolution::forward(const torch::Tensor& images) {
  if (!folded_weight_.defined()) return norm_->forward(convolve(images, weight, bias));
  CSKD_CHECK(!is_training(), "an encoder whose norms were folded for inference cannot be trained");
  return convolve(images, folded_weight_, folded_bias_);
}

torch::Tensor NormedConvolution::convolve(const torch::Tensor& images, const torch::Tensor& kernel,
                                          const torch::Tensor& shift) const {
  std::array<std::int64_t, 2> padding{kernel.size(2) / 2, kernel.size(3) / 2};
  torch::Tensor padded = images;
  if (padding_ == Padding::kSame) {
    const std::int64_t rows = same_padding(images.size(2), kernel.size(2), options.stride()->at(0));
    const std::int64_t columns = same_padding(images.size(3), kernel.size(3), options.stride()->at(1));
    padding = {rows / 2, columns / 2};
    // The convolution itself pads both sides alike: a copy of the images is needed only where they differ.
    if (rows % 2 != 0 || columns % 2 != 0) {
      padded = at::constant_pad_nd(images, {columns / 2, columns - columns / 2, rows / 2, rows - rows / 2});
      padding = {0, 0};
    }
  }
  const auto& stride = options.stride();
  if (has_unsafe_gradient(kernel, *stride, padding))
    return torch::conv2d(read_by_stride(padded, *stride), kernel, shift, 1, padding, 1, options.groups());
  return torch::conv2d(padded, kernel, shift, *stride, padding, options.dilation(), options.groups());
}

// In double precision: an error of a channel's scale would not average out over its places.
Kernel NormedConvolution::folded() const {
  const torch::NoGradGuard no_gradients;
  const torch::Tensor variance = norm_->running_var.to(torch::kDouble) + norm_->options.eps();
  const torch::Tensor scale = norm_->weight.to(torch::kDouble) / torch::sqrt(variance);
  torch::Tensor shift = norm_->bias - norm_->running_mean * scale;
  if (bias.defined()) shift = shift + bias * scale;
  const torch::Tensor scaled = weight * scale.view({-1, 1, 1, 1});
  return {.weight = scaled.to(weight.scalar_type()), .bias = shift.to(weight.scalar_type())};
}

void NormedConvolution::fold() {
  const Kernel kernel = folded();
  folded_weight_ = kernel.weight;
  folded_bias_ = kernel.bias;
}

std::shared_ptr<NormedConvolution> normed_convolution(torch::nn::Module& parent, const std::string& convolution_name,
                                                      const std::string& norm_name, const ConvolutionSize& size,
                                                      double epsilon) {
  torch::nn::BatchNorm2d norm = batch_norm(size.out, epsilon);
  auto layer = std::make_shared<NormedConvolution>(size, norm);
  parent.register_module(convolution_name, layer);
  parent.register_module(norm_name, norm);
  return layer;
}

}  // namespace cskd::models

#include "models/convolution.h"

#include <cmath>

#include <torch/torch.h>

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

}  // namespace

torch::nn::Conv2d convolution(const ConvolutionSize& size) {
  torch::nn::Conv2d layer(options_of(size));
  draw_weights(*layer, size);
  return layer;
}

torch::nn::BatchNorm2d batch_norm(int width) {
  return torch::nn::BatchNorm2d(torch::nn::BatchNorm2dOptions(width).eps(1e-5).momentum(0.1));
}

NormedConvolution::NormedConvolution(const torch::nn::Conv2dOptions& sizes, torch::nn::BatchNorm2d norm)
    : Conv2dImpl(sizes), norm_(std::move(norm)) {}

torch::Tensor NormedConvolution::forward(const torch::Tensor& images) {
  if (!folded_weight_.defined()) return norm_->forward(Conv2dImpl::forward(images));
  CSKD_CHECK(!is_training(), "an encoder whose norms were folded for inference cannot be trained");
  return torch::conv2d(images, folded_weight_, folded_bias_, options.stride(),
                       std::get<torch::ExpandingArray<2>>(options.padding()), options.dilation(), options.groups());
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
                                                      const std::string& norm_name, const ConvolutionSize& size) {
  torch::nn::BatchNorm2d norm = batch_norm(size.out);
  auto layer = std::make_shared<NormedConvolution>(options_of(size), norm);
  draw_weights(*layer, size);
  parent.register_module(convolution_name, layer);
  parent.register_module(norm_name, norm);
  return layer;
}

}  // namespace cskd::models

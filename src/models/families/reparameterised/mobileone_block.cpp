#include "models/families/reparameterised/mobileone_block.h"

#include <torch/nn/modules/conv.h>
#include <torch/types.h>
#include <torch/utils.h>

#include "models/encoder.h"

namespace cskd::models::reparameterised {

using torch::Tensor;

std::shared_ptr<NormedConvolution> named_convolution(torch::nn::Module& parent, const std::string& name,
                                                     const ConvolutionSize& size) {
  const auto own = parent.register_module(name, std::make_shared<torch::nn::Module>("ConvNormAct"));
  const auto layer = normed_convolution(*own, "conv", "bn", size);
  layer->reset_parameters();
  return layer;
}

SqueezeExcite::SqueezeExcite(int width, int squeezed)
    : reduce_(register_module("fc1", torch::nn::Conv2d(torch::nn::Conv2dOptions(width, squeezed, 1)))),
      expand_(register_module("fc2", torch::nn::Conv2d(torch::nn::Conv2dOptions(squeezed, width, 1)))) {}

Tensor SqueezeExcite::forward(const Tensor& x) {
  Tensor squeezed = reduce_->forward(x.mean({2, 3}, /*keepdim=*/true));
  squeezed = expand_->forward(torch::relu_(squeezed));
  return x * torch::sigmoid_(squeezed);
}

MobileOneBlock::MobileOneBlock(const MobileOneSize& size) : size_(size) {
  const ConvolutionSize whole{
      .in = size.in, .out = size.out, .kernel = size.kernel, .stride = size.stride, .groups = size.groups};
  if (size.has_scale && size.kernel > 1) {
    ConvolutionSize scale = whole;
    scale.kernel = 1;
    convolutions_.push_back(named_convolution(*this, "conv_scale", scale));
  }
  if (size.convolutions > 0) {
    const auto list = register_module("conv_kxk", std::make_shared<torch::nn::Module>("ModuleList"));
    for (int i = 0; i < size.convolutions; ++i)
      convolutions_.push_back(named_convolution(*list, std::to_string(i), whole));
  }
  if (size.in == size.out && size.stride == 1) identity_ = register_module("identity", batch_norm(size.in));
  if (size.squeezed > 0)
    squeeze_ = register_module(size.squeeze_name, std::make_shared<SqueezeExcite>(size.out, size.squeezed));
}

Tensor MobileOneBlock::forward(const Tensor& x, double drop_probability) {
  Tensor y = folded_ ? folded_(x, is_training()) : branches(x, drop_probability);
  if (squeeze_) y = squeeze_->forward(y);
  switch (size_.activation) {
    case BlockActivation::kRelu:
      return torch::relu_(y);
    case BlockActivation::kGelu:
      return at::gelu(y);
    case BlockActivation::kNone:
      break;
  }
  return y;
}

Tensor MobileOneBlock::branches(const Tensor& x, double drop_probability) {
  Tensor sum;
  for (const auto& convolution : convolutions_) {
    const Tensor branch = convolution->forward(x);
    sum = sum.defined() ? sum.add_(branch) : branch;
  }
  if (!identity_) return sum;
  const Tensor own = identity_->forward(x);
  return sum.defined() ? drop_path(sum, drop_probability, is_training()).add_(own) : own;
}

Kernel MobileOneBlock::folded() const {
  const torch::NoGradGuard no_gradients;
  Kernel kernel;
  for (const auto& convolution : convolutions_) kernel = sum(kernel, convolution->folded());
  return identity_ ? sum(kernel, by_channel(identity_, size_.groups)) : kernel;
}

void MobileOneBlock::fold() { folded_ = FoldedConvolution(folded(), size_.stride, size_.groups); }

}  // namespace cskd::models::reparameterised

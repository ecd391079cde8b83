// ResNet (https://arxiv.org/abs/1512.03385) as timm builds and names it, with the stride in the 3 x 3 convolution.
#pragma once

#include <array>
#include <memory>

#include "models/encoder.h"

namespace cskd::models {

struct ResNetSize {
  std::array<int, 4> blocks{};  // of each stage
  bool has_bottleneck = false;  // 1 x 1, 3 x 3, 1 x 1 to four times the width, instead of two 3 x 3
};

constexpr int resnet_width(const ResNetSize& size) { return size.has_bottleneck ? 2048 : 512; }

// Tokens are the places of the last feature map, pooled is their mean. BatchNorm: eps 1e-5, momentum 0.1. REQUIRES:
// shape.grid * 32 = shape.image_size.
std::shared_ptr<Encoder> make_resnet(const EncoderShape& shape, const ResNetSize& size);

}  // namespace cskd::models

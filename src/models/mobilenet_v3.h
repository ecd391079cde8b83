// MobileNetV3 (https://arxiv.org/abs/1905.02244) as timm builds and names it.
#pragma once

#include <memory>

#include "models/encoder.h"

namespace cskd::models {

enum class MobileNetV3Size { kSmall, kLarge };

constexpr int mobilenet_v3_pooled_width(MobileNetV3Size size) { return size == MobileNetV3Size::kSmall ? 1024 : 1280; }
constexpr int mobilenet_v3_token_width(MobileNetV3Size size) { return size == MobileNetV3Size::kSmall ? 576 : 960; }

// Pooled is the mean of the last feature map after conv_head and hard-swish, tokens are that map's places before
// pooling. The batch statistics are BatchNorm's: eps 1e-5, momentum 0.1. REQUIRES: shape.grid * 32 = shape.image_size.
std::shared_ptr<Encoder> make_mobilenet_v3(const EncoderShape& shape, MobileNetV3Size size);

}  // namespace cskd::models

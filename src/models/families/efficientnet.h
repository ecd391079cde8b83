// EfficientNet (https://arxiv.org/abs/1905.11946) and EfficientNet-Lite, which has neither squeeze-and-excitation nor
// swish, as timm builds and names them.
#pragma once

#include <vector>

#include "models/encoder_entry.h"

namespace cskd::models {

// tf_*: with TensorFlow's padding and the epsilon of its norms, 1e-3; for the weights that Google published, under
// timm's names or EfficientNet-PyTorch's. The others read torchvision's files of EfficientNet, too.
std::vector<EncoderEntry> efficientnet_entries();

}  // namespace cskd::models

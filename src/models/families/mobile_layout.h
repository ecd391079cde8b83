// Names and constants that other libraries' files have for the tensors of a mobile plan.
#pragma once

#include "models/families/mobile_plan.h"
#include "models/weights/weight_layout.h"

namespace cskd::models {

// torchvision's three ways to number and name the parts of a mobile network.
enum class TorchvisionForm {
  kMobileNetV2,  // features.N.conv.K, N counted over all stages
  // features.N.block.K. The epsilon of its norms is 1e-3: what ours has less is added to the variances, which gives its
  // features in evaluation mode. While it is trained on, ours goes on with its own epsilon.
  kMobileNetV3,
  kEfficientNet  // features.STAGE.N.block.K
};
WeightLayout torchvision_layout(const MobilePlan& plan, TorchvisionForm form);

// Of the package of that name, and of those that took over its names; with TensorFlow's padding and epsilon, which must
// be the plan's.
WeightLayout efficientnet_pytorch_layout(const MobilePlan& plan);

}  // namespace cskd::models

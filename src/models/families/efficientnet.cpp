#include "models/families/efficientnet.h"

#include <string>

#include "models/families/mobile_layout.h"
#include "models/families/mobile_network.h"

namespace cskd::models {
namespace {

constexpr int kStem = 32;
constexpr int kHeadWidth = 1280;

struct EfficientNetSize {
  double width = 1;
  double depth = 1;
  int image_size = 224;
};

enum class Origin { kTimm, kTensorFlow };

// Columns: form, repeats, kernel, stride, expansion, channels.
BlockTable table(bool squeezes) {
  using enum BlockForm;
  return {{{kSeparable, 1, 3, 1, 1, 16, squeezes}}, {{kInverted, 2, 3, 2, 6, 24, squeezes}},
          {{kInverted, 2, 5, 2, 6, 40, squeezes}},  {{kInverted, 3, 3, 2, 6, 80, squeezes}},
          {{kInverted, 3, 5, 1, 6, 112, squeezes}}, {{kInverted, 4, 5, 2, 6, 192, squeezes}},
          {{kInverted, 1, 3, 1, 6, 320, squeezes}}};
}

EncoderEntry entry_of(const std::string& name, MobilePlan plan, const EfficientNetSize& size, const MobileScale& scale,
                      Origin origin, const Normalisation& normalisation) {
  if (origin == Origin::kTensorFlow) {
    plan.padding = Padding::kSame;
    plan.epsilon = kTensorFlowEpsilon;
  }
  const MobilePlan whole = scaled(plan, table(plan.activation == Activation::kSwish), scale);
  EncoderEntry entry = mobile_entry(name, whole);
  entry.image_size = size.image_size;
  entry.takes_any_size = true;
  entry.normalisation = normalisation;
  entry.layouts = {origin == Origin::kTensorFlow ? efficientnet_pytorch_layout(whole)
                                                 : torchvision_layout(whole, TorchvisionForm::kEfficientNet)};
  return entry;
}

EncoderEntry efficientnet(const std::string& name, const EfficientNetSize& size, Origin origin,
                          const Normalisation& normalisation = kImageNetNormalisation) {
  return entry_of(name,
                  {.stem = kStem,
                   .pooled_width = rounded_channels(kHeadWidth * size.width),
                   .activation = Activation::kSwish,
                   .squeeze = Squeeze::kSmooth},
                  size, {.width = size.width, .depth = size.depth}, origin, normalisation);
}

EncoderEntry lite(const std::string& name, const EfficientNetSize& size, Origin origin,
                  const Normalisation& normalisation) {
  return entry_of(name, {.stem = kStem, .pooled_width = kHeadWidth, .activation = Activation::kRelu6}, size,
                  {.width = size.width, .depth = size.depth, .keeps_stem = true, .keeps_end_depths = true}, origin,
                  normalisation);
}

}  // namespace

std::vector<EncoderEntry> efficientnet_entries() {
  return {
      // timm trained its own at other sizes than Google.
      efficientnet("efficientnet_b0", {1.0, 1.0, 224}, Origin::kTimm),
      efficientnet("efficientnet_b1", {1.0, 1.1, 240}, Origin::kTimm, kHalfNormalisation),
      efficientnet("efficientnet_b2", {1.1, 1.2, 256}, Origin::kTimm),
      efficientnet("efficientnet_b3", {1.2, 1.4, 288}, Origin::kTimm),
      efficientnet("efficientnet_b4", {1.4, 1.8, 320}, Origin::kTimm),
      lite("efficientnet_lite0", {1.0, 1.0, 224}, Origin::kTimm, kImageNetNormalisation),
      efficientnet("tf_efficientnet_b0", {1.0, 1.0, 224}, Origin::kTensorFlow),
      efficientnet("tf_efficientnet_b1", {1.0, 1.1, 240}, Origin::kTensorFlow),
      efficientnet("tf_efficientnet_b2", {1.1, 1.2, 260}, Origin::kTensorFlow),
      efficientnet("tf_efficientnet_b3", {1.2, 1.4, 300}, Origin::kTensorFlow),
      efficientnet("tf_efficientnet_b4", {1.4, 1.8, 380}, Origin::kTensorFlow),
      lite("tf_efficientnet_lite0", {1.0, 1.0, 224}, Origin::kTensorFlow, kHalfNormalisation),
      lite("tf_efficientnet_lite1", {1.0, 1.1, 240}, Origin::kTensorFlow, kHalfNormalisation),
      lite("tf_efficientnet_lite2", {1.1, 1.2, 260}, Origin::kTensorFlow, kHalfNormalisation),
      lite("tf_efficientnet_lite3", {1.2, 1.4, 300}, Origin::kTensorFlow, kHalfNormalisation),
      lite("tf_efficientnet_lite4", {1.4, 1.8, 380}, Origin::kTensorFlow, kHalfNormalisation),
  };
}

}  // namespace cskd::models

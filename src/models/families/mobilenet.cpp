#include "models/families/mobilenet.h"

#include <algorithm>
#include <string>
#include <utility>

#include "models/families/mobile_layout.h"
#include "models/families/mobile_network.h"

namespace cskd::models {
namespace {

constexpr bool kSqueeze = true;
constexpr bool kPlain = false;
constexpr Activation kRelu = Activation::kRelu;
using enum BlockForm;

// Columns: form, repeats, kernel, stride, expansion, channels.
BlockTable mobilenet_v2_table() {
  return {{{kSeparable, 1, 3, 1, 1, 16}}, {{kInverted, 2, 3, 2, 6, 24}}, {{kInverted, 3, 3, 2, 6, 32}},
          {{kInverted, 4, 3, 2, 6, 64}},  {{kInverted, 3, 3, 1, 6, 96}}, {{kInverted, 3, 3, 2, 6, 160}},
          {{kInverted, 1, 3, 1, 6, 320}}};
}

BlockTable mobilenet_v3_small_table() {
  return {{{kSeparable, 1, 3, 2, 1, 16, kSqueeze, kRelu}},
          {{kInverted, 1, 3, 2, 4.5, 24, kPlain, kRelu}, {kInverted, 1, 3, 1, 3.67, 24, kPlain, kRelu}},
          {{kInverted, 1, 5, 2, 4, 40, kSqueeze}, {kInverted, 2, 5, 1, 6, 40, kSqueeze}},
          {{kInverted, 2, 5, 1, 3, 48, kSqueeze}},
          {{kInverted, 3, 5, 2, 6, 96, kSqueeze}},
          {{kConvolution, 1, 1, 1, 1, 576}}};
}

BlockTable mobilenet_v3_large_table() {
  return {{{kSeparable, 1, 3, 1, 1, 16, kPlain, kRelu}},
          {{kInverted, 1, 3, 2, 4, 24, kPlain, kRelu}, {kInverted, 1, 3, 1, 3, 24, kPlain, kRelu}},
          {{kInverted, 3, 5, 2, 3, 40, kSqueeze, kRelu}},
          {{kInverted, 1, 3, 2, 6, 80}, {kInverted, 1, 3, 1, 2.5, 80}, {kInverted, 2, 3, 1, 2.3, 80}},
          {{kInverted, 2, 3, 1, 6, 112, kSqueeze}},
          {{kInverted, 3, 5, 2, 6, 160, kSqueeze}},
          {{kConvolution, 1, 1, 1, 1, 960}}};
}

// A universal inverted bottleneck: kernels of its two depthwise convolutions, 0 for one that lacks.
BlockRow universal(int start_kernel, int kernel, int stride, double expansion, int out, int repeats = 1) {
  return {.form = kUniversal,
          .repeats = repeats,
          .kernel = kernel,
          .stride = stride,
          .expansion = expansion,
          .out = out,
          .start_kernel = start_kernel};
}

BlockTable mobilenet_v4_small_table() {
  return {{{kConvolution, 1, 3, 2, 1, 32}, {kConvolution, 1, 1, 1, 1, 32}},
          {{kConvolution, 1, 3, 2, 1, 96}, {kConvolution, 1, 1, 1, 1, 64}},
          {universal(5, 5, 2, 3, 96), universal(0, 3, 1, 2, 96, 4), universal(3, 0, 1, 4, 96)},
          {universal(3, 3, 2, 6, 128), universal(5, 5, 1, 4, 128), universal(0, 5, 1, 4, 128),
           universal(0, 5, 1, 3, 128), universal(0, 3, 1, 4, 128, 2)},
          {{kConvolution, 1, 1, 1, 1, 960}}};
}

BlockTable mobilenet_v4_medium_table() {
  return {
      {{kFused, 1, 3, 2, 4, 48}},
      {universal(3, 5, 2, 4, 80), universal(3, 3, 1, 2, 80)},
      {universal(3, 5, 2, 6, 160), universal(3, 3, 1, 4, 160, 2), universal(3, 5, 1, 4, 160),
       universal(3, 3, 1, 4, 160), universal(3, 0, 1, 4, 160), universal(0, 0, 1, 2, 160), universal(3, 0, 1, 4, 160)},
      {universal(5, 5, 2, 6, 256), universal(5, 5, 1, 4, 256), universal(3, 5, 1, 4, 256, 2),
       universal(0, 0, 1, 4, 256), universal(3, 0, 1, 4, 256), universal(3, 5, 1, 2, 256), universal(5, 5, 1, 4, 256),
       universal(0, 0, 1, 4, 256, 2), universal(5, 0, 1, 2, 256)},
      {{kConvolution, 1, 1, 1, 1, 960}}};
}

BlockTable mobilenet_v4_large_table() {
  return {{{kFused, 1, 3, 2, 4, 48}},
          {universal(3, 5, 2, 4, 96), universal(3, 3, 1, 4, 96)},
          {universal(3, 5, 2, 4, 192), universal(3, 3, 1, 4, 192, 3), universal(3, 5, 1, 4, 192),
           universal(5, 3, 1, 4, 192, 5), universal(3, 0, 1, 4, 192)},
          {universal(5, 5, 2, 4, 512, 4), universal(5, 0, 1, 4, 512), universal(5, 3, 1, 4, 512),
           universal(5, 0, 1, 4, 512, 2), universal(5, 3, 1, 4, 512), universal(5, 5, 1, 4, 512),
           universal(5, 0, 1, 4, 512, 3)},
          {{kConvolution, 1, 1, 1, 1, 960}}};
}

EncoderEntry mobilenet_v2(const char* name, double width) {
  const MobilePlan plan = scaled(
      {.stem = 32, .pooled_width = std::max(1280, rounded_channels(1280 * width)), .activation = Activation::kRelu6},
      mobilenet_v2_table(), {.width = width});
  EncoderEntry entry = mobile_entry(name, plan);
  entry.layouts = {torchvision_layout(plan, TorchvisionForm::kMobileNetV2)};
  return entry;
}

// timm's deeper ones, whose ends are those of full width.
EncoderEntry deep_mobilenet_v2(const char* name, double width, double depth) {
  return mobile_entry(name,
                      scaled({.stem = 32, .pooled_width = 1280, .activation = Activation::kRelu6}, mobilenet_v2_table(),
                             {.width = width, .depth = depth, .keeps_stem = true, .keeps_end_depths = true}));
}

enum class MobileNetV3Size { kSmall, kLarge };

MobilePlan mobilenet_v3_plan(MobileNetV3Size size, double width) {
  const bool is_small = size == MobileNetV3Size::kSmall;
  return scaled({.stem = 16,
                 .head = MobileHead::kPooledConvolution,
                 .pooled_width = is_small ? 1024 : 1280,
                 .activation = Activation::kHardSwish,
                 .squeeze = Squeeze::kHard},
                is_small ? mobilenet_v3_small_table() : mobilenet_v3_large_table(),
                {.width = width, .keeps_stem = width < 0.75});
}

EncoderEntry mobilenet_v3(const char* name, MobileNetV3Size size, double width) {
  const MobilePlan plan = mobilenet_v3_plan(size, width);
  EncoderEntry entry = mobile_entry(name, plan);
  // torchvision rounds the channels of narrower ones in another way.
  if (width == 1) entry.layouts = {torchvision_layout(plan, TorchvisionForm::kMobileNetV3)};
  return entry;
}

EncoderEntry tensorflow_mobilenet_v3(const char* name, MobileNetV3Size size, double width) {
  MobilePlan plan = mobilenet_v3_plan(size, width);
  plan.padding = Padding::kSame;
  plan.epsilon = kTensorFlowEpsilon;
  EncoderEntry entry = mobile_entry(name, plan);
  entry.normalisation = kHalfNormalisation;
  return entry;
}

EncoderEntry mobilenet_v4(const char* name, const BlockTable& table, int stem, int image_size, double width = 1) {
  EncoderEntry entry =
      mobile_entry(name, scaled({.stem = stem, .head = MobileHead::kPooledNormedConvolution, .pooled_width = 1280},
                                table, {.width = width, .keeps_stem = width < 1}));
  entry.image_size = image_size;
  if (width < 1) entry.normalisation = kHalfNormalisation;
  return entry;
}

}  // namespace

std::vector<EncoderEntry> mobilenet_entries() {
  constexpr MobileNetV3Size kSmall = MobileNetV3Size::kSmall;
  constexpr MobileNetV3Size kLarge = MobileNetV3Size::kLarge;
  return {
      mobilenet_v2("mobilenetv2_050", 0.5),
      mobilenet_v2("mobilenetv2_100", 1),
      deep_mobilenet_v2("mobilenetv2_110d", 1.1, 1.2),
      deep_mobilenet_v2("mobilenetv2_120d", 1.2, 1.4),
      mobilenet_v2("mobilenetv2_140", 1.4),
      mobilenet_v3("mobilenetv3_small_050", kSmall, 0.5),
      mobilenet_v3("mobilenetv3_small_075", kSmall, 0.75),
      mobilenet_v3("mobilenetv3_small_100", kSmall, 1),
      mobilenet_v3("mobilenetv3_large_075", kLarge, 0.75),
      mobilenet_v3("mobilenetv3_large_100", kLarge, 1),
      tensorflow_mobilenet_v3("tf_mobilenetv3_small_075", kSmall, 0.75),
      tensorflow_mobilenet_v3("tf_mobilenetv3_small_100", kSmall, 1),
      tensorflow_mobilenet_v3("tf_mobilenetv3_large_075", kLarge, 0.75),
      tensorflow_mobilenet_v3("tf_mobilenetv3_large_100", kLarge, 1),
      mobilenet_v4("mobilenetv4_conv_small_050", mobilenet_v4_small_table(), 32, 224, 0.5),
      mobilenet_v4("mobilenetv4_conv_small", mobilenet_v4_small_table(), 32, 224),
      mobilenet_v4("mobilenetv4_conv_medium", mobilenet_v4_medium_table(), 32, 256),
      mobilenet_v4("mobilenetv4_conv_large", mobilenet_v4_large_table(), 24, 384),
  };
}

}  // namespace cskd::models

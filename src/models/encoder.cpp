#include "models/encoder.h"

#include <algorithm>
#include <iterator>
#include <variant>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "models/mobilenet_v3.h"
#include "models/resnet.h"
#include "models/vision_transformer.h"
#include "runtime/check.h"
#include "runtime/error.h"
#include "runtime/spelling.h"

namespace cskd::models {
namespace {

struct Normalisation {
  std::array<float, 3> mean;
  std::array<float, 3> stddev;
};

constexpr Normalisation kClip{{0.48145466F, 0.4578275F, 0.40821073F}, {0.26862954F, 0.26130258F, 0.27577711F}};
constexpr Normalisation kImageNet{{0.485F, 0.456F, 0.406F}, {0.229F, 0.224F, 0.225F}};
constexpr Normalisation kHalf{{0.5F, 0.5F, 0.5F}, {0.5F, 0.5F, 0.5F}};

struct VisionTransformerPlan {
  VisionTransformerSize size;
  VisionTransformerForm form;
  Gelu gelu;
};

struct Entry {
  const char* name;
  int image_size;
  Normalisation normalisation;
  std::variant<VisionTransformerPlan, MobileNetV3Size, ResNetSize> plan;
};

constexpr VisionTransformerPlan clip(const VisionTransformerSize& size, Gelu gelu = Gelu::kErf) {
  return {size, VisionTransformerForm::kOpenClip, gelu};
}

constexpr VisionTransformerPlan timm(const VisionTransformerSize& size) {
  return {size, VisionTransformerForm::kTimm, Gelu::kErf};
}

// Patch, width, layers, heads, width of the MLP.
constexpr VisionTransformerSize kB32{32, 768, 12, 12, 3072};
constexpr VisionTransformerSize kB16{16, 768, 12, 12, 3072};
constexpr VisionTransformerSize kL14{14, 1024, 24, 16, 4096};
constexpr VisionTransformerSize kH14{14, 1280, 32, 16, 5120};

constexpr Entry kEntries[] = {
    {"ViT-B-32", 224, kClip, clip(kB32)},
    {"ViT-B-32-quickgelu", 224, kClip, clip(kB32, Gelu::kQuick)},
    {"ViT-B-16", 224, kClip, clip(kB16)},
    {"ViT-B-16-quickgelu", 224, kClip, clip(kB16, Gelu::kQuick)},
    {"ViT-L-14", 224, kClip, clip(kL14)},
    {"ViT-L-14-quickgelu", 224, kClip, clip(kL14, Gelu::kQuick)},
    {"ViT-L-14-336", 336, kClip, clip(kL14)},
    {"ViT-L-14-336-quickgelu", 336, kClip, clip(kL14, Gelu::kQuick)},
    {"ViT-H-14", 224, kClip, clip(kH14)},
    // No home: small enough to be trained where the demo runs.
    {"ViT-demo-16", 128, kClip, clip({16, 192, 6, 3, 768})},
    {"vit_tiny_patch16_224", 224, kHalf, timm({16, 192, 12, 3, 768})},
    {"vit_small_patch16_224", 224, kHalf, timm({16, 384, 12, 6, 1536})},
    {"vit_base_patch16_224", 224, kHalf, timm({16, 768, 12, 12, 3072})},
    {"mobilenetv3_small_100", 224, kImageNet, MobileNetV3Size::kSmall},
    {"mobilenetv3_large_100", 224, kImageNet, MobileNetV3Size::kLarge},
    {"resnet18", 224, kImageNet, ResNetSize{{2, 2, 2, 2}, false}},
    {"resnet50", 224, kImageNet, ResNetSize{{3, 4, 6, 3}, true}},
};

const Entry& find_entry(const std::string& name) {
  const Entry* const found =
      std::find_if(std::begin(kEntries), std::end(kEntries), [&](const Entry& entry) { return name == entry.name; });
  if (found != std::end(kEntries)) return *found;
  const std::vector<std::string> names = encoder_names();
  const std::string near = runtime::nearest(name, names);
  throw runtime::UsageError(fmt::format("unknown encoder '{}'{}; known are {}", name,
                                        near.empty() ? "" : fmt::format(", did you mean '{}'?", near),
                                        fmt::join(names, ", ")));
}

}  // namespace

void Encoder::require_images(const torch::Tensor& images) const {
  const std::int64_t side = shape_.image_size;
  CSKD_CHECK(images.dim() == 4 && images.size(1) == 3 && images.size(2) == side && images.size(3) == side,
             "{}: images must be [N, 3, {}, {}], not [{}]", shape_.name, side, side, fmt::join(images.sizes(), ", "));
}

std::vector<std::string> encoder_names() {
  std::vector<std::string> names;
  for (const Entry& entry : kEntries) names.emplace_back(entry.name);
  return names;
}

EncoderShape encoder_shape(const std::string& name, int image_size) {
  const Entry& entry = find_entry(name);
  const auto* const transformer = std::get_if<VisionTransformerPlan>(&entry.plan);
  const int patch = transformer != nullptr ? transformer->size.patch : 32;
  EncoderShape shape{.name = name,
                     .image_size = image_size == 0 ? entry.image_size : image_size,
                     .mean = entry.normalisation.mean,
                     .stddev = entry.normalisation.stddev};
  if (shape.image_size < 0 || shape.image_size % patch != 0) {
    throw runtime::UsageError(fmt::format("encoder '{}' cannot have an image size of {}: expected a multiple of {}",
                                          name, shape.image_size, patch));
  }
  shape.grid = shape.image_size / patch;
  if (transformer != nullptr) {
    shape.pooled_width = transformer->size.width;
    shape.token_width = transformer->size.width;
  } else if (const auto* const resnet = std::get_if<ResNetSize>(&entry.plan)) {
    shape.pooled_width = resnet_width(*resnet);
    shape.token_width = resnet_width(*resnet);
  } else {
    const MobileNetV3Size size = std::get<MobileNetV3Size>(entry.plan);
    shape.pooled_width = mobilenet_v3_pooled_width(size);
    shape.token_width = mobilenet_v3_token_width(size);
  }
  return shape;
}

bool normalises_batches(const std::string& name) {
  return !std::holds_alternative<VisionTransformerPlan>(find_entry(name).plan);
}

std::shared_ptr<Encoder> make_encoder(const std::string& name, int image_size) {
  const EncoderShape shape = encoder_shape(name, image_size);
  const Entry& entry = find_entry(name);
  if (const auto* const transformer = std::get_if<VisionTransformerPlan>(&entry.plan))
    return make_vision_transformer(shape, transformer->size, transformer->form, transformer->gelu);
  if (const auto* const resnet = std::get_if<ResNetSize>(&entry.plan)) return make_resnet(shape, *resnet);
  return make_mobilenet_v3(shape, std::get<MobileNetV3Size>(entry.plan));
}

}  // namespace cskd::models

#include "models/families/vision_transformer.h"

#include <string>
#include <utility>

#include <fmt/format.h>

#include "models/families/transformer/position_embedding.h"
#include "models/families/vision_transformer_layouts.h"
#include "models/families/vision_transformer_model.h"

namespace cskd::models {
namespace {

using transformer::Form;

ParameterNames open_clip_parameters() {
  return {.stem = R"((conv1|ln_pre)\..*)",
          .block = R"(transformer\.resblocks\.(\d+)\..*)",
          .last_norm = R"(ln_post\..*)",
          .embeddings = {"class_embedding", "positional_embedding"}};
}

ParameterNames timm_parameters() {
  return {.stem = R"(patch_embed\..*)",
          .block = R"(blocks\.(\d+)\..*)",
          .last_norm = R"(norm\..*)",
          .embeddings = {"cls_token", "reg_token", "pos_embed"}};
}

EncoderEntry vision_transformer_entry(const std::string& name, int image_size, const Normalisation& normalisation,
                                      std::string licence, const VisionTransformerStructure& structure) {
  const bool open_clip = structure.form == Form::kOpenClip;
  const std::string positions = open_clip ? "positional_embedding" : "pos_embed";
  return {.name = name,
          .image_size = image_size,
          .normalisation = normalisation,
          .stride = structure.size.patch,
          .pooled_width = structure.size.width,
          .token_width = structure.size.width,
          .attention_layers = structure.size.layers,
          .parameters = open_clip ? open_clip_parameters() : timm_parameters(),
          .home = open_clip ? "open_clip" : "timm",
          .layouts = vision_transformer_layouts(structure),
          .resample =
              [=](const std::string& tensor, const at::Tensor& stored, at::IntArrayRef shape) {
                return tensor == positions
                           ? transformer::resampled_positions(stored, shape, structure.prefix_positions())
                           : at::Tensor();
              },
          .licence = std::move(licence),
          .make = [=](const EncoderShape& shape) { return make_vision_transformer(shape, structure); }};
}

// Patch, width, layers, heads, width of the MLP.
constexpr VisionTransformerSize kTiny16{16, 192, 12, 3, 768};
constexpr VisionTransformerSize kSmall16{16, 384, 12, 6, 1536};
constexpr VisionTransformerSize kSmall14{14, 384, 12, 6, 1536};
constexpr VisionTransformerSize kBase32{32, 768, 12, 12, 3072};
constexpr VisionTransformerSize kBase16{16, 768, 12, 12, 3072};
constexpr VisionTransformerSize kBase14{14, 768, 12, 12, 3072};
constexpr VisionTransformerSize kLarge32{32, 1024, 24, 16, 4096};
constexpr VisionTransformerSize kLarge16{16, 1024, 24, 16, 4096};
constexpr VisionTransformerSize kLarge14{14, 1024, 24, 16, 4096};
constexpr VisionTransformerSize kHuge14{14, 1280, 32, 16, 5120};
constexpr VisionTransformerSize kBigG14{14, 1664, 48, 16, 8192};
constexpr VisionTransformerSize kSo400m14{14, 1152, 27, 16, 4304};
constexpr VisionTransformerSize kSo400m16{16, 1152, 27, 16, 4304};
constexpr VisionTransformerSize kGiantOpt16{16, 1536, 40, 16, 6144};

void add_clip(std::vector<EncoderEntry>& entries) {
  // Each structure comes with both forms of GELU; the licence is that of the best-known weights with each.
  const auto add = [&](const std::string& name, int image_size, const VisionTransformerSize& size,
                       const char* erf_licence, const char* quick_licence) {
    const std::string quick_name = name + "-quickgelu";
    for (const bool is_quick : {false, true}) {
      EncoderEntry made = vision_transformer_entry(
          is_quick ? quick_name : name, image_size, kClipNormalisation, is_quick ? quick_licence : erf_licence,
          {.size = size, .form = Form::kOpenClip, .gelu = is_quick ? Gelu::kQuick : Gelu::kErf});
      made.gelu = GeluForm{.is_quick = is_quick, .other = is_quick ? name : quick_name};
      entries.push_back(std::move(made));
    }
  };
  add("ViT-B-32", 224, kBase32, "MIT", "MIT");
  add("ViT-B-16", 224, kBase16, "MIT", "MIT");
  add("ViT-L-14", 224, kLarge14, "MIT", "MIT");
  add("ViT-L-14-336", 336, kLarge14, "", "MIT");
  add("ViT-H-14", 224, kHuge14, "MIT", "Apple ML Research");
  add("ViT-H-14-378", 378, kHuge14, "", "Apple ML Research");
  add("ViT-bigG-14", 224, kBigG14, "MIT", "CC-BY-NC-4.0");
  // No home: small enough to be trained where the demo runs.
  entries.push_back(vision_transformer_entry("ViT-demo-16", 128, kClipNormalisation, "",
                                             {.size = {16, 192, 6, 3, 768}, .form = Form::kOpenClip}));
}

void add_vit(std::vector<EncoderEntry>& entries) {
  // `torchvision`: the encoder with torchvision's name, "" if there is none.
  const auto add = [&](const char* name, const VisionTransformerSize& size, const std::string& torchvision = "",
                       const char* torchvision_licence = "") {
    EncoderEntry made = vision_transformer_entry(name, 224, kHalfNormalisation, "Apache-2.0", {.size = size});
    if (torchvision.empty()) {
      entries.push_back(std::move(made));
      return;
    }
    EncoderEntry twin = made;
    twin.name = torchvision;
    twin.normalisation = kImageNetNormalisation;
    twin.licence = torchvision_licence;
    twin.layouts = {torchvision_layout()};
    made.layouts.push_back(torchvision_layout());
    made.layouts.back().refusal =
        fmt::format("they expect pictures that are normalised in another way; take encoder '{}'", torchvision);
    entries.push_back(std::move(made));
    entries.push_back(std::move(twin));
  };
  add("vit_tiny_patch16_224", kTiny16);
  add("vit_small_patch16_224", kSmall16);
  add("vit_base_patch32_224", kBase32, "vit_b_32");
  add("vit_base_patch16_224", kBase16, "vit_b_16");
  add("vit_large_patch32_224", kLarge32, "vit_l_32");
  add("vit_large_patch16_224", kLarge16, "vit_l_16");
  add("vit_huge_patch14_224", kHuge14, "vit_h_14", "CC-BY-NC-4.0");
}

void add_deit(std::vector<EncoderEntry>& entries) {
  const auto add = [&](const char* name, const VisionTransformerStructure& structure) -> EncoderEntry& {
    return entries.emplace_back(vision_transformer_entry(name, 224, kImageNetNormalisation, "Apache-2.0", structure));
  };
  for (const auto& [name, size] : {std::pair{"deit_tiny_patch16_224", kTiny16},
                                   {"deit_small_patch16_224", kSmall16},
                                   {"deit_base_patch16_224", kBase16}})
    add(name, {.size = size}).layouts.push_back(torchvision_layout());
  for (const auto& [name, size] : {std::pair{"deit3_small_patch16_224", kSmall16},
                                   {"deit3_base_patch16_224", kBase16},
                                   {"deit3_large_patch16_224", kLarge16}})
    add(name, {.size = size, .has_prefix_positions = false, .layer_scale = 1e-6});
}

void add_siglip(std::vector<EncoderEntry>& entries) {
  const auto add = [&](const char* name, int image_size, const VisionTransformerSize& size, Gelu gelu = Gelu::kErf) {
    entries.push_back(vision_transformer_entry(name, image_size, kHalfNormalisation, "Apache-2.0",
                                               {.size = size, .gelu = gelu, .has_class_token = false}));
  };
  add("vit_base_patch32_siglip_256", 256, kBase32, Gelu::kTanh);
  add("vit_base_patch16_siglip_224", 224, kBase16);
  add("vit_base_patch16_siglip_256", 256, kBase16);
  add("vit_base_patch16_siglip_384", 384, kBase16);
  add("vit_base_patch16_siglip_512", 512, kBase16);
  add("vit_large_patch16_siglip_256", 256, kLarge16);
  add("vit_large_patch16_siglip_384", 384, kLarge16);
  add("vit_large_patch16_siglip_512", 512, kLarge16, Gelu::kTanh);
  add("vit_so400m_patch14_siglip_224", 224, kSo400m14);
  add("vit_so400m_patch14_siglip_378", 378, kSo400m14);
  add("vit_so400m_patch16_siglip_256", 256, kSo400m16, Gelu::kTanh);
  add("vit_so400m_patch16_siglip_384", 384, kSo400m16, Gelu::kTanh);
  add("vit_so400m_patch16_siglip_512", 512, kSo400m16, Gelu::kTanh);
  add("vit_giantopt_patch16_siglip_256", 256, kGiantOpt16, Gelu::kTanh);
  add("vit_giantopt_patch16_siglip_384", 384, kGiantOpt16, Gelu::kTanh);
}

void add_dinov2(std::vector<EncoderEntry>& entries) {
  for (const auto& [name, size] : {std::pair{"small", kSmall14}, {"base", kBase14}, {"large", kLarge14}}) {
    for (const bool has_registers : {false, true}) {
      EncoderEntry made =
          vision_transformer_entry(fmt::format("vit_{}_patch14_{}dinov2", name, has_registers ? "reg4_" : ""), 518,
                                   kImageNetNormalisation, "Apache-2.0",
                                   {.size = size,
                                    .registers = has_registers ? 4 : 0,
                                    .has_prefix_positions = !has_registers,
                                    .layer_scale = 1e-5});
      made.left_out = {{"mask_token", "mask token"}};
      entries.push_back(std::move(made));
    }
  }
}

}  // namespace

std::vector<EncoderEntry> vision_transformer_entries() {
  std::vector<EncoderEntry> entries;
  add_clip(entries);
  add_vit(entries);
  add_deit(entries);
  add_siglip(entries);
  add_dinov2(entries);
  return entries;
}

}  // namespace cskd::models

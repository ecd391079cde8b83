#include "models/families/vision_transformer_layouts.h"

#include <array>
#include <string>

#include <ATen/ATen.h>

namespace cskd::models {
namespace {

using Rules = std::vector<NameRule>;
using Three = std::array<const char*, 3>;

const LeftOut kMaskToken{R"((embeddings\.)?mask_token)", "mask token"};
const LeftOut kPositionIds{R"((.*\.)?embeddings\.position_ids)", "numbers of positions"};

// Queries, keys and values, which lie in three tensors of the file and in one of the encoder.
void add_attention(Rules& rules, const std::string& layer, const Three& names, const std::string& target) {
  for (int part = 0; part < 3; ++part) {
    for (const std::string kind : {"weight", "bias"})
      rules.push_back({.pattern = layer + names[static_cast<std::size_t>(part)] + R"(\.)" + kind,
                       .name = target + kind,
                       .to = {.begin = part, .end = part + 1, .of = 3}});
  }
}

constexpr Three kProjections{"q_proj", "k_proj", "v_proj"};

WeightLayout hugging_face_clip() {
  const std::string layer = R"(encoder\.layers\.(\d+)\.)";
  const std::string block = "transformer.resblocks.$1.";
  WeightLayout layout{.name = "Hugging Face CLIP",
                      .rules = {{R"(embeddings\.class_embedding)", "class_embedding"},
                                {R"(embeddings\.patch_embedding\.weight)", "conv1.weight"},
                                {R"(embeddings\.position_embedding\.weight)", "positional_embedding"},
                                {R"(pre_layrnorm\.(.*))", "ln_pre.$1"},
                                {R"(post_layernorm\.(.*))", "ln_post.$1"},
                                {layer + R"(layer_norm([12])\.(.*))", block + "ln_$2.$3"},
                                {layer + R"(self_attn\.out_proj\.(.*))", block + "attn.out_proj.$2"},
                                {layer + R"(mlp\.fc1\.(.*))", block + "mlp.c_fc.$2"},
                                {layer + R"(mlp\.fc2\.(.*))", block + "mlp.c_proj.$2"}},
                      .left_out = {{R"(visual_projection\..*)", "projection"}, kPositionIds}};
  add_attention(layout.rules, layer + R"(self_attn\.)", kProjections, block + "attn.in_proj_");
  return layout;
}

WeightLayout timm_clip() {
  const std::string layer = R"(blocks\.(\d+)\.)";
  const std::string block = "transformer.resblocks.$1.";
  return {.name = "timm CLIP",
          .rules = {{"cls_token", "class_embedding"},
                    {"pos_embed", "positional_embedding"},
                    {R"(patch_embed\.proj\.weight)", "conv1.weight"},
                    {R"(norm_pre\.(.*))", "ln_pre.$1"},
                    {R"(norm\.(.*))", "ln_post.$1"},
                    {layer + R"(norm([12])\.(.*))", block + "ln_$2.$3"},
                    {layer + R"(attn\.qkv\.(.*))", block + "attn.in_proj_$2"},
                    {layer + R"(attn\.proj\.(.*))", block + "attn.out_proj.$2"},
                    {layer + R"(mlp\.fc1\.(.*))", block + "mlp.c_fc.$2"},
                    {layer + R"(mlp\.fc2\.(.*))", block + "mlp.c_proj.$2"}},
          .left_out = {}};
}

WeightLayout hugging_face_siglip() {
  const std::string layer = R"(encoder\.layers\.(\d+)\.)";
  WeightLayout layout{.name = "Hugging Face SigLIP",
                      .rules = {{R"(embeddings\.patch_embedding\.(.*))", "patch_embed.proj.$1"},
                                {R"(embeddings\.position_embedding\.weight)", "pos_embed"},
                                {R"(post_layernorm\.(.*))", "norm.$1"},
                                {layer + R"(layer_norm([12])\.(.*))", "blocks.$1.norm$2.$3"},
                                {layer + R"(self_attn\.out_proj\.(.*))", "blocks.$1.attn.proj.$2"},
                                {layer + R"(mlp\.(.*))", "blocks.$1.mlp.$2"},
                                {R"(head\.probe)", "attn_pool.latent"},
                                {.pattern = R"(head\.attention\.in_proj_(.*))",
                                 .name = "attn_pool.q.$1",
                                 .from = {.begin = 0, .end = 1, .of = 3}},
                                {.pattern = R"(head\.attention\.in_proj_(.*))",
                                 .name = "attn_pool.kv.$1",
                                 .from = {.begin = 1, .end = 3, .of = 3}},
                                {R"(head\.attention\.out_proj\.(.*))", "attn_pool.proj.$1"},
                                {R"(head\.layernorm\.(.*))", "attn_pool.norm.$1"},
                                {R"(head\.mlp\.(.*))", "attn_pool.mlp.$1"}},
                      .left_out = {kPositionIds}};
  add_attention(layout.rules, layer + R"(self_attn\.)", kProjections, "blocks.$1.attn.qkv.");
  return layout;
}

// Files have had the first of each pair of names, models in memory the second since transformers 5.
WeightLayout hugging_face_vit() {
  const std::string layer = R"((?:encoder\.layer|layers)\.(\d+)\.)";
  WeightLayout layout{.name = "Hugging Face ViT",
                      .rules = {{R"(embeddings\.cls_token)", "cls_token"},
                                {R"(embeddings\.position_embeddings)", "pos_embed"},
                                {R"(embeddings\.patch_embeddings\.projection\.(.*))", "patch_embed.proj.$1"},
                                {R"(layernorm\.(.*))", "norm.$1"},
                                {layer + R"(layernorm_before\.(.*))", "blocks.$1.norm1.$2"},
                                {layer + R"(layernorm_after\.(.*))", "blocks.$1.norm2.$2"},
                                {layer + R"(attention\.(?:output\.dense|o_proj)\.(.*))", "blocks.$1.attn.proj.$2"},
                                {layer + R"((?:intermediate\.dense|mlp\.fc1)\.(.*))", "blocks.$1.mlp.fc1.$2"},
                                {layer + R"((?:output\.dense|mlp\.fc2)\.(.*))", "blocks.$1.mlp.fc2.$2"}},
                      .left_out = {{R"(pooler\..*)", "pooler"}, kMaskToken}};
  for (const Three& names : {Three{"query", "key", "value"}, kProjections})
    add_attention(layout.rules, layer + R"(attention\.(?:attention\.)?)", names, "blocks.$1.attn.qkv.");
  return layout;
}

// The class token's own embedding of position, which timm's registers do without, is added to the class token.
std::vector<DerivedTensor> without_class_position(const std::string& class_token, const std::string& positions) {
  return {{.name = "cls_token",
           .from = {class_token, positions},
           .make = [](const std::vector<at::Tensor>& stored) { return stored[0] + stored[1].slice(1, 0, 1); }},
          {.name = "pos_embed", .from = {positions}, .make = [](const std::vector<at::Tensor>& stored) {
             return stored[0].slice(1, 1);
           }}};
}

WeightLayout hugging_face_dinov2(bool has_registers) {
  const std::string layer = R"(encoder\.layer\.(\d+)\.)";
  WeightLayout layout{.name = "Hugging Face DINOv2",
                      .rules = {{R"(embeddings\.patch_embeddings\.projection\.(.*))", "patch_embed.proj.$1"},
                                {R"(layernorm\.(.*))", "norm.$1"},
                                {layer + R"(norm([12])\.(.*))", "blocks.$1.norm$2.$3"},
                                {layer + R"(attention\.(?:output\.dense|o_proj)\.(.*))", "blocks.$1.attn.proj.$2"},
                                {layer + R"(layer_scale([12])\.lambda1)", "blocks.$1.ls$2.gamma"},
                                {layer + R"(mlp\.(.*))", "blocks.$1.mlp.$2"}},
                      .left_out = {kMaskToken}};
  for (const Three& names : {Three{"query", "key", "value"}, kProjections})
    add_attention(layout.rules, layer + R"(attention\.(?:attention\.)?)", names, "blocks.$1.attn.qkv.");
  if (has_registers) {
    layout.rules.push_back({R"(embeddings\.register_tokens)", "reg_token"});
    layout.derived = without_class_position("embeddings.cls_token", "embeddings.position_embeddings");
  } else {
    layout.rules.push_back({R"(embeddings\.cls_token)", "cls_token"});
    layout.rules.push_back({R"(embeddings\.position_embeddings)", "pos_embed"});
  }
  return layout;
}

WeightLayout dinov2_with_registers() {
  return {.name = "DINOv2",
          .rules = {{R"(((?:patch_embed|norm|blocks)\..*))", "$1"}, {"register_tokens", "reg_token"}},
          .left_out = {kMaskToken},
          .derived = without_class_position("cls_token", "pos_embed")};
}

WeightLayout deit3() {
  return {.name = "DeiT III",
          .rules = {{R"(blocks\.(\d+)\.gamma_([12]))", "blocks.$1.ls$2.gamma"},
                    {R"((cls_token|pos_embed|(?:patch_embed|norm)\..*|blocks\.\d+\.(?:norm[12]|attn|mlp)\..*))", "$1"}},
          .left_out = {}};
}

}  // namespace

std::vector<WeightLayout> vision_transformer_layouts(const VisionTransformerStructure& structure) {
  if (structure.form == transformer::Form::kOpenClip) return {hugging_face_clip(), timm_clip()};
  if (!structure.has_class_token) return {hugging_face_siglip()};
  if (structure.layer_scale == 0) return {hugging_face_vit()};
  if (structure.registers > 0) return {hugging_face_dinov2(true), dinov2_with_registers()};
  if (!structure.has_prefix_positions) return {deit3()};
  return {hugging_face_dinov2(false)};
}

WeightLayout torchvision_layout() {
  const std::string layer = R"(encoder\.layers\.encoder_layer_(\d+)\.)";
  return {.name = "torchvision",
          .rules = {{"class_token", "cls_token"},
                    {R"(encoder\.pos_embedding)", "pos_embed"},
                    {R"(conv_proj\.(.*))", "patch_embed.proj.$1"},
                    {R"(encoder\.ln\.(.*))", "norm.$1"},
                    {layer + R"(ln_([12])\.(.*))", "blocks.$1.norm$2.$3"},
                    {layer + R"(self_attention\.in_proj_(.*))", "blocks.$1.attn.qkv.$2"},
                    {layer + R"(self_attention\.out_proj\.(.*))", "blocks.$1.attn.proj.$2"},
                    {layer + R"(mlp\.(?:linear_1|0)\.(.*))", "blocks.$1.mlp.fc1.$2"},
                    {layer + R"(mlp\.(?:linear_2|3)\.(.*))", "blocks.$1.mlp.fc2.$2"}},
          .left_out = {{R"(heads\..*)", "classifier"}}};
}

}  // namespace cskd::models

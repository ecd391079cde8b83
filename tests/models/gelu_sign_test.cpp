#include "models/weights/gelu_sign.h"

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "models/construction.h"
#include "models/encoder.h"
#include "models/safetensors.h"
#include "models/weights/encoder_weights.h"
#include "models/weights/weight_match.h"
#include "runtime/error.h"
#include "tests/support/temporary_folder.h"

namespace cskd::models {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::ThrowsMessage;
using tests::TemporaryFolder;

void write(const std::filesystem::path& path, const std::string& text) { std::ofstream(path) << text; }

std::optional<GeluSign> sign_with(const std::string& config_name, const std::string& config) {
  const TemporaryFolder folder;
  write_safetensors(folder / "model.safetensors", {{"a", at::zeros({1})}}, {});
  if (!config_name.empty()) write(folder / config_name, config);
  return gelu_sign(WeightFile(folder / "model.safetensors"));
}

void expect_sign(const std::string& config_name, const std::string& config, bool is_quick, const std::string& reason) {
  const auto sign = sign_with(config_name, config);
  ASSERT_TRUE(sign) << config;
  EXPECT_EQ(sign->is_quick, is_quick) << config;
  EXPECT_THAT(sign->reason, HasSubstr(reason));
}

TEST(GeluSign, ConfigurationsBesideTheFileTell) {
  expect_sign("config.json", R"({"model_type": "clip", "vision_config": {"hidden_act": "quick_gelu"}})", true,
              "config.json says hidden_act is quick_gelu");
  expect_sign("config.json", R"({"model_type": "clip", "vision_config": {"hidden_act": "gelu"}})", false, "is gelu");
  expect_sign("config.json", R"({"model_type": "clip", "vision_config": {}})", true, "leaves hidden_act");
  expect_sign("config.json", R"({"model_type": "clip_vision_model", "hidden_act": "gelu"})", false, "is gelu");
  expect_sign("open_clip_config.json", R"({"model_cfg": {"embed_dim": 512, "quick_gelu": true}})", true, "sets");
  expect_sign("open_clip_config.json", R"({"model_cfg": {"embed_dim": 512}})", false, "does not set quick_gelu");
  expect_sign("config.json", R"({"architecture": "vit_base_patch32_clip_quickgelu_224"})", true, "quickgelu_224");
  expect_sign("config.json", R"({"architecture": "vit_base_patch32_clip_224", "pretrained_cfg": {"tag": "openai"}})",
              true, "they are vit_base_patch32_clip_224.openai");
}

TEST(GeluSign, OtherFilesTellNothing) {
  EXPECT_FALSE(sign_with("", ""));
  EXPECT_FALSE(sign_with("config.json", "no JSON"));
  EXPECT_FALSE(sign_with("config.json", "[1]"));
  EXPECT_FALSE(sign_with("config.json", R"({"model_type": "siglip", "vision_config": {"hidden_act": "gelu"}})"));
  EXPECT_FALSE(sign_with("config.json", R"({"model_type": "clip", "vision_config": {"hidden_act": "relu"}})"));
  EXPECT_FALSE(sign_with("config.json", R"({"architecture": "vit_base_patch16_224"})"));
  EXPECT_FALSE(sign_with("config.json", R"({"architecture": "vit_base_patch32_clip_224", "pretrained_cfg": 3})"));
  EXPECT_FALSE(sign_with("open_clip_config.json", R"({"model_cfg": 3})"));
}

// A file with these tensors, all float16 zeros, that takes no room on the disk.
void write_hollow(const std::filesystem::path& path, const std::vector<WantedTensor>& tensors) {
  nlohmann::json header;
  std::uint64_t end = 0;
  for (const WantedTensor& tensor : tensors) {
    std::uint64_t bytes = 2;
    for (const std::int64_t size : tensor.shape) bytes *= static_cast<std::uint64_t>(size);
    header[tensor.name] = {{"dtype", "F16"}, {"shape", tensor.shape}, {"data_offsets", {end, end + bytes}}};
    end += bytes;
  }
  const std::string text = header.dump();
  const std::uint64_t length = text.size();
  std::ofstream(path, std::ios::binary).write(reinterpret_cast<const char*>(&length), 8) << text;
  std::filesystem::resize_file(path, 8 + length + end);
}

std::vector<WantedTensor> tensors_of(const char* encoder, int image_size) {
  const ConstructionGuard guard(Construction::kShapes);
  return wanted_tensors(*make_encoder(encoder, image_size));
}

TEST(GeluSign, TheWrongFormIsRefusedWithTheRightOne) {
  const TemporaryFolder folder;
  const std::filesystem::path path = folder / "ViT-B-32.safetensors";
  std::vector<WantedTensor> tensors = tensors_of("ViT-B-32", 32);
  for (WantedTensor& tensor : tensors) tensor.name = "visual." + tensor.name;
  for (const char* const name : {"context_length", "input_resolution", "vocab_size"}) tensors.push_back({name, {}});
  write_hollow(path, tensors);
  const ConstructionGuard guard(Construction::kUnset);
  const auto erf = make_encoder("ViT-B-32", 32);
  EXPECT_THAT([&] { load_encoder_weights(*erf, path); },
              ThrowsMessage<runtime::DataError>(
                  AllOf(HasSubstr("ViT-B-32.safetensors were trained with QuickGELU: it holds the sizes that OpenAI's"),
                        HasSubstr("encoder 'ViT-B-32' has the other: take 'ViT-B-32-quickgelu'"))));
  EXPECT_NO_THROW(load_encoder_weights(*make_encoder("ViT-B-32-quickgelu", 32), path));

  write(folder / "open_clip_config.json", R"({"model_cfg": {}})");
  tensors.resize(tensors.size() - 3);
  write_hollow(path, tensors);
  EXPECT_NO_THROW(load_encoder_weights(*erf, path));
  const auto quick = make_encoder("ViT-B-32-quickgelu", 32);
  EXPECT_THAT([&] { load_encoder_weights(*quick, path); },
              ThrowsMessage<runtime::DataError>(HasSubstr("trained with GELU by erf: ")));
}

TEST(WeightLayout, TorchvisionsFilesBelongToTheEncodersWithItsStatistics) {
  const TemporaryFolder folder;
  const std::filesystem::path path = folder / "vit_b_16.safetensors";
  std::vector<WantedTensor> tensors{{"class_token", {1, 1, 768}},           {"encoder.pos_embedding", {1, 5, 768}},
                                    {"conv_proj.weight", {768, 3, 16, 16}}, {"conv_proj.bias", {768}},
                                    {"encoder.ln.weight", {768}},           {"encoder.ln.bias", {768}},
                                    {"heads.head.weight", {10, 768}}};
  for (int layer = 0; layer < 12; ++layer) {
    const std::string start = "encoder.layers.encoder_layer_" + std::to_string(layer) + ".";
    for (const auto& [name, rows, columns] : {std::tuple{"ln_1.", 768, 0},
                                              {"ln_2.", 768, 0},
                                              {"self_attention.in_proj_", 2304, 768},
                                              {"self_attention.out_proj.", 768, 768},
                                              {"mlp.linear_1.", 3072, 768},
                                              {"mlp.linear_2.", 768, 3072}}) {
      tensors.push_back({start + name + "bias", {rows}});
      tensors.push_back({start + name + "weight",
                         columns == 0 ? std::vector<std::int64_t>{rows} : std::vector<std::int64_t>{rows, columns}});
    }
  }
  write_hollow(path, tensors);
  const ConstructionGuard guard(Construction::kUnset);
  const auto encoder = make_encoder("vit_b_16", 32);
  const WeightReport report = load_encoder_weights(*encoder, path);
  EXPECT_EQ(sentence(report, encoder->shape()), "torchvision vit_b_16, 150 of 151 tensors used, classifier left out");
  const auto other = make_encoder("vit_base_patch16_224", 32);
  EXPECT_THAT([&] { load_encoder_weights(*other, path); },
              ThrowsMessage<runtime::DataError>(
                  HasSubstr("are torchvision's, not for encoder 'vit_base_patch16_224': they expect pictures that are "
                            "normalised in another way; take encoder 'vit_b_16'")));
}

}  // namespace
}  // namespace cskd::models

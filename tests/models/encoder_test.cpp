#include "models/encoder.h"

#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "models/construction.h"
#include "models/safetensors.h"
#include "models/weights/encoder_weights.h"
#include "runtime/check.h"
#include "runtime/error.h"
#include "tests/support/temporary_folder.h"

namespace cskd::models {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using testing::ThrowsMessage;
using tests::TemporaryFolder;

using Tensors = std::map<std::string, at::Tensor>;

// The parameters and buffers of `encoder`, changed so that a loaded value can be told from an initial one.
Tensors changed_weights(const Encoder& encoder) {
  Tensors weights;
  for (const auto& parameter : encoder.named_parameters()) weights[parameter.key()] = parameter.value().detach() + 0.25;
  for (const auto& buffer : encoder.named_buffers()) weights[buffer.key()] = buffer.value() + 3;
  return weights;
}

std::string save(const std::filesystem::path& path, const Tensors& tensors, const std::string& prefix = "") {
  std::vector<std::pair<std::string, at::Tensor>> list;
  for (const auto& [name, tensor] : tensors) list.emplace_back(prefix + name, tensor);
  write_safetensors(path, list, {});
  return path.native();
}

std::string load_error(Encoder& encoder, const std::string& path) {
  try {
    load_encoder_weights(encoder, path);
  } catch (const runtime::DataError& error) {
    return error.what();
  }
  return "no DataError";
}

void expect_holds(const Encoder& encoder, const Tensors& weights) {
  for (const auto& parameter : encoder.named_parameters()) {
    EXPECT_TRUE(at::equal(parameter.value(), weights.at(parameter.key()))) << parameter.key();
    EXPECT_TRUE(parameter.value().requires_grad()) << parameter.key();
  }
  for (const auto& buffer : encoder.named_buffers()) {
    EXPECT_TRUE(at::equal(buffer.value(), weights.at(buffer.key()))) << buffer.key();
  }
}

TEST(Encoder, UnknownNamesAreAnsweredWithTheNearestAndAll) {
  EXPECT_THAT(
      [] { make_encoder("mobilenetv3_smal_100"); },
      ThrowsMessage<runtime::UsageError>(
          AllOf(HasSubstr("unknown encoder 'mobilenetv3_smal_100', did you mean 'mobilenetv3_small_100'?; known are "),
                HasSubstr("ViT-B-32, ViT-B-32-quickgelu, "), HasSubstr(", mobilenetv3_large_100"))));
  EXPECT_THAT([] { make_encoder("swin"); },
              ThrowsMessage<runtime::UsageError>(
                  AllOf(HasSubstr("unknown encoder 'swin'; known are "), Not(HasSubstr("mean")))));
}

TEST(Encoder, EveryNameIsKnownOnce) {
  const std::vector<std::string> names = encoder_names();
  EXPECT_EQ(std::set(names.begin(), names.end()).size(), names.size());
}

TEST(Encoder, ImageSizesMustBeMultiplesOfThePatch) {
  EXPECT_THAT([] { make_encoder("vit_tiny_patch16_224", 100); },
              ThrowsMessage<runtime::UsageError>(
                  "encoder 'vit_tiny_patch16_224' cannot have an image size of 100: expected a multiple of 16"));
  EXPECT_THAT([] { make_encoder("mobilenetv3_large_100", 240); },
              ThrowsMessage<runtime::UsageError>(HasSubstr("expected a multiple of 32")));
  EXPECT_THAT([] { make_encoder("ViT-demo-16", -16); }, ThrowsMessage<runtime::UsageError>(HasSubstr("size of -16")));

  EXPECT_EQ(make_encoder("ViT-demo-16")->shape().image_size, 128);
  const auto small = make_encoder("ViT-demo-16", 64);
  EXPECT_EQ(small->shape().image_size, 64);
  EXPECT_EQ(small->shape().grid, 4);
}

TEST(Encoder, WhatTakesAnySizeRoundsItsGridUp) {
  EXPECT_EQ(encoder_shape("tf_efficientnet_lite2").grid, 9);  // of 260 pixels
  EXPECT_EQ(encoder_shape("efficientnet_b0", 1).grid, 1);
  EXPECT_EQ(encoder_shape("efficientnet_b0", 64).grid, 2);
  EXPECT_EQ(encoder_shape("efficientnet_b0", 65).grid, 3);
  EXPECT_THAT([] { encoder_shape("efficientnet_b0", -1); },
              ThrowsMessage<runtime::UsageError>(HasSubstr("size of -1")));
  const auto encoder = make_encoder("efficientnet_b0", 65);
  encoder->eval();
  EXPECT_EQ(encoder->forward(at::zeros({1, 3, 65, 65}), {.tokens = true, .attention = {}}).tokens.size(1), 9);
}

TEST(Encoder, ImagesOfAnotherSizeAreABugOfTheCaller) {
  for (const char* const name : {"ViT-demo-16", "mobilenetv3_small_100"}) {
    const auto encoder = make_encoder(name, 64);
    encoder->eval();
    EXPECT_NO_THROW(encoder->forward(at::zeros({1, 3, 64, 64})));
    EXPECT_THAT(
        [&] {
          encoder->forward(at::zeros({1, 3, 64, 96}));
        },
        ThrowsMessage<runtime::CheckFailure>(HasSubstr("must be [N, 3, 64, 64], not [1, 3, 64, 96]")));
  }
}

TEST(Encoder, ComputesInTheTypeThatItIsMovedTo) {
  for (const char* const name : {"ViT-demo-16", "vit_tiny_patch16_224", "mobilenetv3_small_100",
                                 "swin_tiny_patch4_window7_224", "swinv2_tiny_window8_256", "convnextv2_atto"}) {
    const auto encoder = make_encoder(name, 64);
    encoder->eval();
    const at::Tensor images = at::randn({2, 3, 64, 64});
    const Request tokens{.tokens = true, .attention = {}};
    const Features single = encoder->forward(images, tokens);
    encoder->to(at::kDouble);
    const Features twice = encoder->forward(images.to(at::kDouble), tokens);
    EXPECT_EQ(twice.pooled.scalar_type(), at::kDouble);
    EXPECT_TRUE(at::allclose(twice.pooled.to(at::kFloat), single.pooled, 1e-3, 1e-4)) << name;
    EXPECT_TRUE(at::allclose(twice.tokens.to(at::kFloat), single.tokens, 1e-3, 1e-4)) << name;
  }
}

TEST(Encoder, EveryOneCanBeMadeOfShapesAlone) {
  const ConstructionGuard guard(Construction::kShapes);
  for (const std::string& name : encoder_names()) {
    for (const auto& parameter : make_encoder(name)->named_parameters())
      EXPECT_TRUE(parameter.value().is_meta()) << name << " " << parameter.key();
  }
}

TEST(Encoder, CanBeTrainedAfterInference) {
  for (const char* const name : {"swin_tiny_patch4_window7_224", "swinv2_tiny_window8_256", "convnext_atto"}) {
    const auto encoder = make_encoder(name, 96);
    const at::Tensor images = at::randn({1, 3, 96, 96});
    {
      const c10::InferenceMode inference;
      encoder->forward(images);
    }
    encoder->forward(images).pooled.sum().backward();
    for (const auto& parameter : encoder->named_parameters())
      EXPECT_TRUE(parameter.value().grad().defined()) << name << " " << parameter.key();
  }
}

TEST(Encoder, DropPathLeavesBranchesOutPictureByPicture) {
  for (const char* const name :
       {"swin_tiny_patch4_window7_224", "swinv2_tiny_window8_256", "convnext_atto", "convnextv2_atto"}) {
    at::manual_seed(3);
    const auto encoder = make_encoder(name, 32);
    {
      // Scales of branches that begin near zero would hide them.
      const at::NoGradGuard no_gradients;
      for (at::Tensor& parameter : encoder->parameters()) parameter.add_(0.1);
    }
    const at::Tensor images = at::randn({1, 3, 32, 32}).expand({4, 3, 32, 32});
    const auto differ = [&] {
      const at::Tensor pooled = encoder->forward(images).pooled;
      return !at::allclose(pooled[0].expand_as(pooled), pooled, 1e-3, 1e-4);
    };
    EXPECT_FALSE(differ()) << name;
    encoder->set_drop_path(0.5);
    EXPECT_TRUE(differ()) << name;
    encoder->eval();
    EXPECT_FALSE(differ()) << name;
  }
}

TEST(Encoder, TheSeedOfLibTorchDecidesTheInitialWeights) {
  const auto first_weights = [](std::uint64_t seed) {
    at::manual_seed(seed);
    return make_encoder("mobilenetv3_small_100", 32)->named_parameters()["conv_stem.weight"];
  };
  EXPECT_TRUE(at::equal(first_weights(7), first_weights(7)));
  EXPECT_FALSE(at::equal(first_weights(7), first_weights(8)));
}

TEST(EncoderWeights, FillParametersAndBuffers) {
  const TemporaryFolder folder;
  for (const char* const name : {"mobilenetv3_small_100", "ViT-demo-16", "vit_tiny_patch16_224", "convnextv2_atto",
                                 "swin_tiny_patch4_window7_224"}) {
    const auto encoder = make_encoder(name, 32);
    const Tensors weights = changed_weights(*encoder);
    load_encoder_weights(*encoder, save(folder / "a.safetensors", weights));
    expect_holds(*encoder, weights);
  }
}

TEST(EncoderWeights, HeadsAndTheTextTowerArePassedOver) {
  const TemporaryFolder folder;
  const auto student = make_encoder("mobilenetv3_small_100", 32);
  Tensors weights = changed_weights(*student);
  weights["classifier.weight"] = at::zeros({1000, 1024});
  weights["classifier.bias"] = at::zeros({1000});
  load_encoder_weights(*student, save(folder / "student.safetensors", weights));
  expect_holds(*student, weights);

  const auto tower = make_encoder("ViT-demo-16", 32);
  Tensors visual = changed_weights(*tower);
  visual["proj"] = at::zeros({192, 128});
  Tensors model;
  for (const auto& [name, tensor] : visual) model["visual." + name] = tensor;
  // The text tower has names of its own that the image tower has too.
  model["positional_embedding"] = at::zeros({77, 192});
  model["transformer.resblocks.0.ln_1.weight"] = at::zeros({512});
  model["token_embedding.weight"] = at::zeros({10, 192});
  model["ln_final.weight"] = at::zeros({192});
  model["text_projection"] = at::zeros({192, 128});
  model["logit_scale"] = at::zeros({});
  load_encoder_weights(*tower, save(folder / "clip.safetensors", model));
  expect_holds(*tower, visual);

  model["decoder.weight"] = at::zeros({1});
  EXPECT_THAT(load_error(*tower, save(folder / "clip.safetensors", model)), HasSubstr("1 unexpected (decoder.weight)"));
}

TEST(EncoderWeights, HalfPrecisionIsConverted) {
  const TemporaryFolder folder;
  const auto encoder = make_encoder("ViT-demo-16", 32);
  for (const at::ScalarType type : {at::kHalf, at::kBFloat16}) {
    Tensors stored = changed_weights(*encoder);
    Tensors rounded;
    for (auto& [name, tensor] : stored) {
      tensor = tensor.to(type);
      rounded[name] = tensor.to(at::kFloat);
    }
    load_encoder_weights(*encoder, save(folder / "half.safetensors", stored));
    expect_holds(*encoder, rounded);
  }
}

TEST(EncoderWeights, EveryKindOfMisfitIsListedAndNothingIsLoaded) {
  const TemporaryFolder folder;
  const auto encoder = make_encoder("mobilenetv3_small_100", 32);
  const Tensors before = changed_weights(*encoder);
  load_encoder_weights(*encoder, save(folder / "good.safetensors", before));

  Tensors weights;
  for (const auto& [name, tensor] : before) weights[name] = tensor + 1;
  weights.erase("blocks.1.0.conv_pw.weight");
  weights.erase("blocks.5.0.bn1.running_var");
  weights["blocks.6.0.conv.weight"] = at::zeros({1});
  weights["conv_stem.weight"] = at::zeros({16, 3, 5, 5});
  weights["bn1.bias"] = at::zeros({16}, at::kInt);
  weights["bn1.num_batches_tracked"] = at::zeros({});
  const std::string path = save(folder / "bad.safetensors", weights);
  EXPECT_EQ(
      load_error(*encoder, path),
      "the tensors of " + path +
          " are not those of encoder 'mobilenetv3_small_100' at image size 32: 2 missing (blocks.1.0.conv_pw.weight, "
          "blocks.5.0.bn1.running_var); 1 unexpected (blocks.6.0.conv.weight); 3 of another shape or type "
          "(bn1.bias has Int values instead of Float, bn1.num_batches_tracked has Float values instead of Long, "
          "conv_stem.weight is [16, 3, 5, 5] instead of [16, 3, 3, 3])");
  expect_holds(*encoder, before);
}

TEST(EncoderWeights, AnotherModelIsRecognisedByAFewNames) {
  const TemporaryFolder folder;
  const auto student = make_encoder("mobilenetv3_small_100", 32);
  const std::string path = save(folder / "vit.safetensors", changed_weights(*make_encoder("vit_tiny_patch16_224", 32)));
  EXPECT_THAT(load_error(*student, path),
              testing::MatchesRegex(
                  ".* at image size 32: 208 missing \\(conv_stem.weight, .* and 202 more\\); 150 unexpected "
                  "\\(blocks.0.attn.proj.bias, .* and 144 more\\). They are those of vit_tiny_patch16_224, .*"));
}

TEST(EncoderWeights, FilesWhoseBranchesAreFoldedAreNamedAsSuch) {
  const TemporaryFolder folder;
  const auto encoder = make_encoder("fastvit_t8", 32);
  const std::map<std::string, std::string> files{{"", "stem.0.reparam_conv.bias"},
                                                 {"image_encoder.model.", "network.1.proj.0.lkb_reparam.weight"}};
  for (const auto& [prefix, name] : files) {
    Tensors weights;
    for (const auto& [key, tensor] : changed_weights(*encoder)) {
      if (!key.starts_with("stem.0.")) weights[key] = tensor;
    }
    weights[name] = at::zeros({48});
    const std::string path = save(folder / "folded.safetensors", weights, prefix);
    EXPECT_EQ(load_error(*encoder, path),
              path +
                  " cannot fill encoder 'fastvit_t8': its weights are in inference form (reparameterised), each "
                  "block's branches folded into one convolution for good: take the file from before that (it holds " +
                  prefix + name + ")");
  }
}

TEST(EncoderWeights, PositionsOfAnotherImageSizeAreResampledAndReported) {
  const TemporaryFolder folder;
  const auto encoder = make_encoder("vit_tiny_patch16_224", 64);
  Tensors weights = changed_weights(*make_encoder("vit_tiny_patch16_224", 32));
  const WeightReport report = load_encoder_weights(*encoder, save(folder / "vit.safetensors", weights));
  EXPECT_THAT(sentence(report, encoder->shape()),
              HasSubstr("150 of 150 tensors used, pos_embed resampled to 64 pixels"));
  const at::Tensor positions = encoder->named_parameters()["pos_embed"];
  EXPECT_TRUE(at::equal(positions.select(1, 0), weights["pos_embed"].select(1, 0)));  // the class token's
  EXPECT_LT(positions.mean().sub(weights["pos_embed"].mean()).abs().item<double>(), 0.01);

  weights["pos_embed"] = at::zeros({1, 7, 192});  // six patches are no square
  EXPECT_THAT(load_error(*encoder, save(folder / "vit.safetensors", weights)),
              HasSubstr("at image size 64: 1 of another shape or type (pos_embed is [1, 7, 192] instead of [1, 17, "
                        "192])"));
}

}  // namespace
}  // namespace cskd::models

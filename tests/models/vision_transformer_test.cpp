// What files and Python's parity tests do not see of the vision transformers: drop path, types, construction.
#include <cmath>
#include <regex>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/nn/module.h>

#include "models/compute_settings.h"
#include "models/construction.h"
#include "models/encoder.h"

namespace cskd::models {
namespace {

struct Case {
  const char* name;
  int image_size;
  int blocks;
};

class VisionTransformers : public testing::TestWithParam<Case> {};

std::shared_ptr<Encoder> seeded(const Case& wanted) {
  at::manual_seed(3);
  auto encoder = make_encoder(wanted.name, wanted.image_size);
  // LayerScale starts so small that no branch would be seen.
  const at::NoGradGuard no_gradients;
  for (const auto& item : encoder->named_parameters()) {
    if (std::regex_search(item.key(), std::regex("gamma"))) item.value().fill_(1);
  }
  return encoder;
}

// Multiplies what the MLP of block `block` adds by `factor`, and what all other branches add by 0.
void keep_one_branch(Encoder& encoder, int block, double factor) {
  const at::NoGradGuard no_gradients;
  const std::regex last_layer(
      R"((?:transformer\.resblocks|blocks)\.(\d+)\.(attn\.(?:out_)?proj|mlp\.(?:c_proj|fc2))\.(?:weight|bias))");
  for (const auto& item : encoder.named_parameters()) {
    std::smatch parts;
    const std::string& name = item.key();
    if (!std::regex_match(name, parts, last_layer)) continue;
    item.value().mul_(std::stoi(parts[1]) == block && parts.str(2).starts_with("mlp") ? factor : 0.0);
  }
}

at::Tensor pooled_without_drops(const Case& wanted, int block, double factor, const at::Tensor& images) {
  const auto encoder = seeded(wanted);
  keep_one_branch(*encoder, block, factor);
  encoder->eval();
  return encoder->forward(images).pooled;
}

// Which pictures have which of two features.
at::Tensor are_near(const at::Tensor& pooled, const at::Tensor& expected) {
  return (pooled - expected).abs().amax(1) < 1e-4 * expected.abs().max();
}

TEST_P(VisionTransformers, DropPathLeavesOutBranchesOfLaterBlocksAndScalesTheRest) {
  const at::NoGradGuard no_gradients;
  constexpr double kRate = 0.5;
  constexpr int kPictures = 64;
  const int last = GetParam().blocks - 1;
  at::manual_seed(4);
  const int side = GetParam().image_size;
  const at::Tensor images = at::randn({1, 3, side, side}).expand({kPictures, -1, -1, -1});
  const at::Tensor left_out = pooled_without_drops(GetParam(), last, 0, images);
  const at::Tensor scaled = pooled_without_drops(GetParam(), last, 1 / (1 - kRate), images);
  ASSERT_FALSE(are_near(left_out, scaled).any().item<bool>());

  auto encoder = seeded(GetParam());
  keep_one_branch(*encoder, last, 1);
  encoder->set_drop_path(kRate);
  encoder->train();
  const at::Tensor pooled = encoder->forward(images).pooled;
  const at::Tensor kept = are_near(pooled, scaled);
  EXPECT_TRUE((kept | are_near(pooled, left_out)).all().item<bool>());
  EXPECT_NEAR(static_cast<double>(kept.sum().item<std::int64_t>()), kPictures * (1 - kRate), 17);  // 4 deviations
  encoder->eval();
  EXPECT_TRUE(
      are_near(encoder->forward(images).pooled, pooled_without_drops(GetParam(), last, 1, images)).all().item<bool>());

  // The first block's branches are never left out.
  encoder = seeded(GetParam());
  keep_one_branch(*encoder, 0, 1);
  encoder->set_drop_path(kRate);
  encoder->train();
  EXPECT_TRUE(
      are_near(encoder->forward(images).pooled, pooled_without_drops(GetParam(), 0, 1, images)).all().item<bool>());
}

TEST_P(VisionTransformers, ComputeInTheTypeThatTheyAreMovedToAndUnderAutocast) {
  const at::NoGradGuard no_gradients;
  const auto encoder = seeded(GetParam());
  encoder->eval();
  at::manual_seed(5);
  const at::Tensor images = at::randn({2, 3, GetParam().image_size, GetParam().image_size});
  const Request request{.tokens = true, .attention = {0}};
  const Features single = encoder->forward(images, request);
  const double scale = single.tokens.abs().max().item<double>();
  const auto expect_near = [&](const Features& other, double tolerance) {
    EXPECT_LT((other.tokens.to(at::kFloat) - single.tokens).abs().max().item<double>(), tolerance * scale);
    EXPECT_LT((other.pooled.to(at::kFloat) - single.pooled).abs().max().item<double>(), tolerance * scale);
  };
  {
    const AutocastGuard guard(Precision::kBf16, at::kCPU);
    expect_near(encoder->forward(images, request), 0.05);
  }
  encoder->to(at::kDouble);
  const Features twice = encoder->forward(images.to(at::kDouble), request);
  EXPECT_EQ(twice.pooled.scalar_type(), at::kDouble);
  EXPECT_EQ(twice.attention[0].queries.scalar_type(), at::kDouble);
  expect_near(twice, 1e-4);
  encoder->to(at::kBFloat16);
  const Features half = encoder->forward(images.to(at::kBFloat16), request);
  EXPECT_EQ(half.tokens.scalar_type(), at::kBFloat16);
  EXPECT_EQ(half.attention[0].queries.scalar_type(), at::kBFloat16);
  expect_near(half, 0.1);
}

TEST_P(VisionTransformers, DrawNothingIfAFileWillFillThem) {
  at::manual_seed(6);
  const at::Tensor expected = at::randn({4});
  at::manual_seed(6);
  {
    const ConstructionGuard guard(Construction::kUnset);
    make_encoder(GetParam().name, GetParam().image_size);
  }
  EXPECT_TRUE(at::equal(at::randn({4}), expected));
}

INSTANTIATE_TEST_SUITE_P(Forms, VisionTransformers,
                         testing::Values(Case{"ViT-demo-16", 32, 6}, Case{"vit_tiny_patch16_224", 32, 12},
                                         Case{"vit_small_patch14_reg4_dinov2", 28, 12},
                                         Case{"vit_base_patch32_siglip_256", 64, 12},
                                         Case{"vit_small_patch16_dinov3_qkvb", 32, 12}),
                         [](const auto& instance) {
                           return std::regex_replace(std::string(instance.param.name), std::regex("-"), "_");
                         });

}  // namespace
}  // namespace cskd::models

#include "models/construction.h"

#include <gtest/gtest.h>
#include <torch/nn/init.h>
#include <torch/types.h>
#include <torch/utils.h>

#include "models/encoder.h"

namespace cskd::models {
namespace {

TEST(Construction, ShapesAloneTakeNoMemoryAndNoRandomNumbers) {
  torch::manual_seed(5);
  const torch::Tensor expected = torch::rand({4});
  torch::manual_seed(5);
  for (const std::string& name : encoder_names()) {
    const ConstructionGuard guard(Construction::kShapes);
    const auto encoder = make_encoder(name);
    for (const auto& item : encoder->named_parameters()) {
      EXPECT_TRUE(item.value().is_meta()) << name << " " << item.key();
      EXPECT_TRUE(item.value().requires_grad()) << name << " " << item.key();
    }
    for (const auto& item : encoder->named_buffers()) EXPECT_TRUE(item.value().is_meta()) << name << " " << item.key();
  }
  EXPECT_TRUE(torch::equal(torch::rand({4}), expected));
}

TEST(Construction, UnsetWeightsHaveTheShapesOfRandomOnes) {
  const auto drawn = make_encoder("vit_tiny_patch16_224", 32);
  const auto unset = [] {
    const ConstructionGuard guard(Construction::kUnset);
    return make_encoder("vit_tiny_patch16_224", 32);
  }();
  ASSERT_EQ(unset->named_parameters().keys(), drawn->named_parameters().keys());
  for (const auto& item : unset->named_parameters()) {
    EXPECT_EQ(item.value().sizes(), drawn->named_parameters()[item.key()].sizes());
    EXPECT_TRUE(item.value().is_cpu());
  }
}

TEST(Construction, EndsWithTheGuard) {
  {
    const ConstructionGuard outer(Construction::kUnset);
    {
      const ConstructionGuard inner(Construction::kShapes);
      EXPECT_TRUE(torch::empty({2}).is_meta());
    }
    EXPECT_TRUE(torch::empty({2}).is_cpu());
    const torch::Tensor kept = torch::full({1000}, 2.0);
    torch::nn::init::normal_(kept);
    EXPECT_TRUE(kept.eq(2).all().item<bool>());
  }
  const torch::Tensor drawn = torch::full({1000}, 2.0);
  torch::nn::init::normal_(drawn);
  EXPECT_FALSE(drawn.eq(2).any().item<bool>());
}

}  // namespace
}  // namespace cskd::models

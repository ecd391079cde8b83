// Compiled networks against the encoders that they were compiled from, and what is not compiled.
#include "compiled/compiled_network.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/utils.h>

#include "models/headed_encoder.h"
#include "runtime/error.h"

namespace cskd::compiled {
namespace {

using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

// With norms that are seen, as after a training.
std::shared_ptr<models::Encoder> folded_encoder(const std::string& name, int side) {
  torch::manual_seed(3);
  auto encoder = models::make_encoder(name, side);
  const torch::NoGradGuard no_gradients;
  for (auto& item : encoder->named_buffers()) {
    if (item.key().ends_with("running_mean")) item.value().uniform_(-0.1, 0.1);
    if (item.key().ends_with("running_var")) item.value().uniform_(0.5, 1.5);
  }
  for (auto& item : encoder->named_parameters()) {
    if (item.value().dim() != 1) continue;
    const bool is_factor = item.key().ends_with("weight");
    item.value().uniform_(is_factor ? 0.5 : -0.2, is_factor ? 1.5 : 0.2);
  }
  encoder->eval();
  for (const at::Tensor& parameter : encoder->parameters()) parameter.requires_grad_(false);
  encoder->fold_for_inference();
  return encoder;
}

at::Tensor random_pixels(int images, int side) { return at::randint(256, {images, side, side, 3}, at::kByte); }

class Compiled : public testing::TestWithParam<const char*> {};

TEST_P(Compiled, EqualsItsEncoder) {
  const torch::NoGradGuard no_gradients;
  // Odd sizes tell one side's padding from the other's.
  for (const int side : {64, 96}) {
    const auto encoder = folded_encoder(GetParam(), side);
    for (const int threads : {1, 2}) {
      CompiledNetwork network(*encoder, threads);
      for (const int images : {1, 5, 2}) {
        const at::Tensor pixels = random_pixels(images, side);
        const at::Tensor expected = encoder->forward(models::normalise(pixels, encoder->shape())).pooled;
        const at::Tensor found = network.pooled(pixels);
        ASSERT_EQ(found.sizes(), expected.sizes());
        ASSERT_GT(expected.std().item<double>(), 0);
        EXPECT_LT((found - expected).abs().max().item<double>(), 2e-5 * expected.abs().max().item<double>());
        EXPECT_TRUE(found.equal(network.pooled(pixels)));
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Encoders, Compiled,
                         testing::Values("mobilenetv3_small_100", "mobilenetv3_large_100", "tf_mobilenetv3_small_100",
                                         "mobilenetv2_050", "mobilenetv4_conv_small_050", "efficientnet_b0",
                                         "tf_efficientnet_b0", "tf_efficientnet_lite0", "resnet18", "resnet50",
                                         "mobileone_s0", "fastvit_t8"),
                         [](const auto& each) { return std::string(each.param); });

TEST(CompiledNetwork, SeesAnImageAloneAsAmongOthers) {
  const torch::NoGradGuard no_gradients;
  CompiledNetwork network(*folded_encoder("mobilenetv3_small_100", 96), 2);
  const at::Tensor pixels = random_pixels(7, 96);
  const at::Tensor all = network.pooled(pixels);
  for (int i = 0; i < 7; ++i)
    EXPECT_TRUE(all.slice(0, i, i + 1).allclose(network.pooled(pixels.slice(0, i, i + 1)), 1e-5, 1e-6));
  EXPECT_EQ(network.pooled(pixels.slice(0, 0, 0)).sizes(), (std::vector<std::int64_t>{0, 1024}));
}

TEST(CompiledNetwork, DoesNotNeedItsEncoderAfterwards) {
  const torch::NoGradGuard no_gradients;
  auto encoder = folded_encoder("mobilenetv2_050", 64);
  const at::Tensor pixels = random_pixels(2, 64);
  const at::Tensor expected = encoder->forward(models::normalise(pixels, encoder->shape())).pooled.clone();
  CompiledNetwork network(*encoder, 1);
  encoder.reset();
  EXPECT_TRUE(network.pooled(pixels).allclose(expected, 1e-4, 1e-5));
}

TEST(CompiledNetwork, NamesTheOperationThatItHasNoStepFor) {
  const torch::NoGradGuard no_gradients;
  for (const char* const name : {"vit_tiny_patch16_224", "swin_tiny_patch4_window7_224", "convnext_atto", "RN50"}) {
    EXPECT_THAT([&] { CompiledNetwork(*folded_encoder(name, 224), 1); },
                ThrowsMessage<runtime::DataError>(HasSubstr("the network is not compiled")))
        << name;
  }
}

}  // namespace
}  // namespace cskd::compiled

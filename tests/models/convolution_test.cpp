#include "models/convolution.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/nn/module.h>
#include <torch/types.h>
#include <torch/utils.h>

#include "models/encoder.h"
#include "runtime/check.h"

namespace cskd::models {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;
using torch::Tensor;

// A convolution with its norm, changed so that the norm is seen. Its parent holds the names.
struct Layer {
  torch::nn::Module parent{"Parent"};
  std::shared_ptr<NormedConvolution> convolution;
};

std::unique_ptr<Layer> layer_of(const ConvolutionSize& size, double epsilon = kNormEpsilon) {
  torch::manual_seed(1);
  auto layer = std::make_unique<Layer>();
  layer->convolution = normed_convolution(layer->parent, "conv", "bn", size, epsilon);
  const torch::NoGradGuard no_gradients;
  for (auto& item : layer->parent.named_parameters()) {
    if (item.key() != "conv.weight") item.value().uniform_(0.5, 1.5);
  }
  for (auto& item : layer->parent.named_buffers()) {
    if (item.value().is_floating_point()) item.value().uniform_(0.01, 0.1);
  }
  layer->parent.eval();
  return layer;
}

double greatest_difference(const Tensor& left, const Tensor& right) {
  return (left - right).abs().max().item<double>();
}

// TensorFlow's definition of SAME, place by place: out[y] = sum over k of kernel[k] in[y * stride + k - before], where
// before is half of what all ceil(side / stride) places need beyond the side, rounded down.
Tensor same_by_definition(const Tensor& images, const Tensor& kernel, std::int64_t stride, std::int64_t groups) {
  const auto [places, before] = [&] {
    std::array<std::array<std::int64_t, 2>, 2> found{};
    for (std::size_t axis = 0; axis < 2; ++axis) {
      const std::int64_t side = images.size(static_cast<std::int64_t>(axis) + 2);
      found[0][axis] = static_cast<std::int64_t>(std::ceil(static_cast<double>(side) / static_cast<double>(stride)));
      const std::int64_t needed = (found[0][axis] - 1) * stride + kernel.size(2);
      found[1][axis] = std::max<std::int64_t>(needed - side, 0) / 2;
    }
    return found;
  }();
  Tensor out = torch::zeros({images.size(0), kernel.size(0), places[0], places[1]}, torch::kDouble);
  const std::int64_t outputs = kernel.size(0) / groups;
  for (std::int64_t channel = 0; channel < kernel.size(0); ++channel) {
    const std::int64_t first = channel / outputs * kernel.size(1);
    for (std::int64_t y = 0; y < places[0]; ++y) {
      for (std::int64_t x = 0; x < places[1]; ++x) {
        for (std::int64_t i = 0; i < kernel.size(2); ++i) {
          for (std::int64_t j = 0; j < kernel.size(3); ++j) {
            const std::int64_t row = y * stride + i - before[0];
            const std::int64_t column = x * stride + j - before[1];
            if (row < 0 || row >= images.size(2) || column < 0 || column >= images.size(3)) continue;
            for (std::int64_t in = 0; in < kernel.size(1); ++in) {
              out.index({0, channel, y, x}) += images.index({0, first + in, row, column}).to(torch::kDouble) *
                                               kernel.index({channel, in, i, j}).to(torch::kDouble);
            }
          }
        }
      }
    }
  }
  return out;
}

Tensor normed(const Tensor& x, const torch::nn::Module& parent, double epsilon) {
  const auto parameters = parent.named_parameters();
  const auto buffers = parent.named_buffers();
  const auto by_channel = [](const Tensor& values) { return values.to(torch::kDouble).view({1, -1, 1, 1}); };
  return (x - by_channel(buffers["bn.running_mean"])) / torch::sqrt(by_channel(buffers["bn.running_var"]) + epsilon) *
             by_channel(parameters["bn.weight"]) +
         by_channel(parameters["bn.bias"]);
}

TEST(NormedConvolution, SamePaddingIsTensorFlows) {
  const torch::NoGradGuard no_gradients;
  for (const int kernel : {1, 3, 5}) {
    for (const int stride : {1, 2}) {
      for (const int groups : {1, 2}) {
        const auto layer = layer_of(
            {.in = 2, .out = 4, .kernel = kernel, .stride = stride, .groups = groups, .padding = Padding::kSame}, 1e-3);
        // Rows and columns that need the same, and that need another.
        for (const auto& [rows, columns] : {std::pair{6, 6}, {7, 7}, {6, 7}, {7, 6}, {1, 2}}) {
          const Tensor images = torch::randn({1, 2, rows, columns});
          const Tensor expected =
              normed(same_by_definition(images, layer->parent.named_parameters()["conv.weight"], stride, groups),
                     layer->parent, 1e-3);
          const Tensor found = layer->convolution->forward(images);
          ASSERT_EQ(found.sizes(), expected.sizes());
          EXPECT_LT(greatest_difference(found, expected), 1e-5)
              << kernel << " " << stride << " " << groups << " " << rows << " " << columns;
        }
      }
    }
  }
}

TEST(NormedConvolution, FoldingChangesNothingButRounding) {
  const torch::NoGradGuard no_gradients;
  for (const Padding padding : {Padding::kHalf, Padding::kSame}) {
    for (const bool bias : {false, true}) {
      const auto layer =
          layer_of({.in = 3, .out = 8, .kernel = 3, .stride = 2, .bias = bias, .padding = padding}, 1e-3);
      const Tensor images = torch::randn({2, 3, 10, 10});
      const Tensor before = layer->convolution->forward(images);
      layer->convolution->fold();
      const Tensor after = layer->convolution->forward(images);
      EXPECT_LT(greatest_difference(before, after), 2e-5 * before.abs().max().item<double>());
      // It is folded: what happens to the norm is no longer seen.
      layer->parent.named_parameters()["bn.weight"].zero_();
      EXPECT_TRUE(torch::equal(layer->convolution->forward(images), after));
    }
  }
}

TEST(Encoder, FoldedNormsKeepFeaturesAndRefuseTraining) {
  const torch::NoGradGuard no_gradients;
  for (const std::string name : {"mobilenetv2_050", "mobilenetv3_small_100", "tf_mobilenetv3_small_100",
                                 "mobilenetv4_conv_small_050", "tf_efficientnet_b0"}) {
    torch::manual_seed(2);
    const auto encoder = make_encoder(name, 64);
    for (auto& item : encoder->named_buffers()) {
      if (item.value().is_floating_point()) item.value().uniform_(0.5, 1.5);
    }
    encoder->eval();
    const Tensor images = torch::randn({2, 3, 64, 64});
    const Request tokens{.tokens = true, .attention = {}};
    const Features before = encoder->forward(images, tokens);
    encoder->fold_for_inference();
    const Features after = encoder->forward(images, tokens);
    EXPECT_LT(greatest_difference(before.pooled, after.pooled), 2e-5 * before.pooled.abs().max().item<double>())
        << name;
    EXPECT_LT(greatest_difference(before.tokens, after.tokens), 2e-5 * before.tokens.abs().max().item<double>())
        << name;
    encoder->train();
    EXPECT_THAT([&] { encoder->forward(images); },
                ThrowsMessage<runtime::CheckFailure>(HasSubstr("folded for inference cannot be trained")))
        << name;
  }
}

// LibTorch's own convolution ends the process here, sooner or later: it writes beyond the gradient.
TEST(NormedConvolution, OfOnePlaceWithAStrideHasAGradientChannelsLast) {
  const auto layer = layer_of({.in = 3, .out = 48, .kernel = 1, .stride = 2});
  torch::manual_seed(2);
  const Tensor images = torch::randn({2, 3, 112, 112}).contiguous(torch::MemoryFormat::ChannelsLast);
  const Tensor made = layer->convolution->forward(images);
  const Tensor gradient = torch::randn_like(made);
  for (int i = 0; i < 8; ++i) {
    layer->parent.zero_grad();
    layer->convolution->forward(images).backward(gradient);
  }
  // The norm, as it stands, multiplies each channel.
  const Tensor norm =
      layer->convolution->norm()->weight / (layer->convolution->norm()->running_var + kNormEpsilon).sqrt();
  const Tensor seen = images.slice(2, 0, 112, 2).slice(3, 0, 112, 2);
  const Tensor expected = torch::einsum("nohw,nihw->oi", {gradient * norm.view({1, -1, 1, 1}), seen});
  const Tensor found = layer->convolution->weight.grad().flatten(1);
  EXPECT_LT(greatest_difference(found, expected), 1e-4 * expected.abs().max().item<double>());
}

}  // namespace
}  // namespace cskd::models

// Packed products against at::linear() in float64, and what they leave to the layer's own weights.
#include "models/packable_linear.h"

#include <ATen/autocast_mode.h>
#include <ATen/ops/linear.h>
#include <c10/core/GradMode.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/nn/init.h>
#include <torch/utils.h>

#include "models/compute_settings.h"
#include "runtime/error.h"

namespace cskd::models {
namespace {

using ::testing::HasSubstr;
using ::testing::ThrowsMessage;
using torch::Tensor;

double difference_to(const Tensor& found, const Tensor& expected) {
  return ((found.to(torch::kDouble) - expected).abs().max() / expected.abs().max()).item<double>();
}

Tensor linear_in_double(const PackableLinear& layer, const Tensor& x, const Tensor& bias) {
  return at::linear(x.to(torch::kDouble), layer.weight.to(torch::kDouble), bias.to(torch::kDouble));
}

std::shared_ptr<PackableLinear> frozen_layer(int in, int out) {
  torch::manual_seed(1);
  auto layer = std::make_shared<PackableLinear>(in, out);
  layer->eval();
  for (const Tensor& parameter : layer->parameters()) parameter.requires_grad_(false);
  layer->fold();
  return layer;
}

// That the packed weights are what it computes with shows in that they do not change with the layer's.
bool uses_packed_weights(const PackableLinear& layer, const Tensor& x) {
  const Tensor before = layer.forward(x);
  const Tensor kept = layer.weight.clone();
  const torch::NoGradGuard no_gradients;
  layer.weight.zero_();
  const Tensor after = layer.forward(x);
  layer.weight.copy_(kept);
  return torch::equal(before, after);
}

TEST(PackableLinear, EqualsTheProductInDoublePrecision) {
  for (const auto& [in, out] : {std::pair(96, 384), {384, 96}, {2, 512}, {17, 3}}) {
    const auto layer = frozen_layer(in, out);
    // One row, few, many; as a map of places; with gaps in memory.
    for (const Tensor& x : {torch::randn({1, in}), torch::randn({3, 5, in}), torch::randn({2, 14, 14, in}),
                            torch::randn({4, 9, in}).slice(1, 0, 1), torch::randn({in, 50}).t()}) {
      const Tensor expected = linear_in_double(*layer, x, layer->bias);
      ASSERT_TRUE(uses_packed_weights(*layer, x));
      EXPECT_EQ(layer->forward(x).sizes(), expected.sizes());
      EXPECT_LT(difference_to(layer->forward(x), expected), 2e-6);
      EXPECT_LT(difference_to(layer->forward_gelu(x, Gelu::kErf), at::gelu(expected)), 2e-6);
      EXPECT_LT(difference_to(layer->forward_gelu(x, Gelu::kTanh), at::gelu(expected, "tanh")), 2e-6);
      EXPECT_LT(difference_to(layer->forward_gelu(x, Gelu::kQuick), expected * torch::sigmoid(1.702 * expected)), 2e-6);
      const Tensor other = torch::randn({out});
      EXPECT_LT(difference_to(layer->forward(x, other), linear_in_double(*layer, x, other)), 2e-6);
      EXPECT_LT(difference_to(layer->forward(x, {}), linear_in_double(*layer, x, torch::zeros({out}))), 2e-6);
    }
  }
}

TEST(PackableLinear, ComputesAnImageAloneAsAmongOthers) {
  const auto layer = frozen_layer(192, 768);
  const Tensor x = torch::randn({64, 65, 192});
  const Tensor all = layer->forward(x);
  for (const int count : {1, 7, 32}) {
    EXPECT_LT(difference_to(layer->forward(x.slice(0, 0, count)), all.slice(0, 0, count).to(torch::kDouble)), 1e-6);
  }
}

TEST(PackableLinear, LeavesAutocastGradientsAndOtherTypesToItsOwnWeights) {
  const auto layer = frozen_layer(64, 32);
  PackableLinear plain(64, 32);
  plain.weight = layer->weight;
  plain.bias = layer->bias;
  const Tensor x = torch::randn({8, 64});
  {
    const AutocastGuard autocast(Precision::kBf16, torch::kCPU);
    EXPECT_EQ(layer->forward(x).scalar_type(), torch::kBFloat16);
    EXPECT_TRUE(torch::equal(layer->forward_gelu(x, Gelu::kErf), plain.forward_gelu(x, Gelu::kErf)));
  }
  const Tensor inputs = x.clone().requires_grad_();
  layer->forward_gelu(inputs, Gelu::kErf).sum().backward();
  const Tensor expected = x.clone().requires_grad_();
  plain.forward_gelu(expected, Gelu::kErf).sum().backward();
  EXPECT_TRUE(torch::equal(inputs.grad(), expected.grad()));
  {
    const torch::NoGradGuard no_gradients;
    EXPECT_TRUE(uses_packed_weights(*layer, inputs));
  }
  layer->to(torch::kDouble);
  layer->fold();
  EXPECT_EQ(layer->forward(x.to(torch::kDouble)).scalar_type(), torch::kDouble);
}

TEST(PackableLinear, RefusesTrainingOnceFolded) {
  const auto layer = frozen_layer(8, 8);
  layer->train();
  EXPECT_THAT(
      [&] {
        layer->forward(torch::randn({2, 8}));
      },
      ThrowsMessage<runtime::CheckFailure>(HasSubstr("folded for inference cannot be trained")));
}

}  // namespace
}  // namespace cskd::models

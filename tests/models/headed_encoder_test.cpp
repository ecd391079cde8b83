#include "models/headed_encoder.h"

#include <cmath>
#include <map>
#include <set>
#include <string>

#include <gtest/gtest.h>
#include <torch/nn/modules/batchnorm.h>
#include <torch/types.h>
#include <torch/utils.h>

namespace cskd::models {
namespace {

// Its output is its pooled features: the head is the identity.
struct IdentityHead {
  IdentityHead() {
    torch::manual_seed(1);
    const auto encoder = make_encoder("mobilenetv3_small_100", 32);
    const std::int64_t width = encoder->shape().pooled_width;
    model = std::make_shared<HeadedEncoder>(encoder, kScoreHead, width);
    for (const auto& [name, tensor] : model->state()) {
      if (name == "score_head.weight") tensor.detach().copy_(torch::eye(width));
    }
    model->encoder().eval();
  }
  torch::Tensor outputs() {
    const torch::NoGradGuard no_gradients;
    return model->forward(images);
  }

  std::shared_ptr<HeadedEncoder> model;
  torch::Tensor images = torch::randn({4, 3, 32, 32});
};

// What other families have beside BatchNorm's statistics: tables of indices, masks, flags.
class OddBuffers : public Encoder {
 public:
  OddBuffers()
      : Encoder({.name = "odd", .image_size = 4, .pooled_width = 3}),
        norm_(register_module("norm", torch::nn::BatchNorm2d(3))) {
    index_ = register_buffer("relative_position_index", torch::arange(4));
    mask_ = register_buffer("attn_mask", torch::full({2, 2}, -INFINITY));
    flag_ = register_buffer("is_shifted", torch::ones({1}, torch::kBool));
  }
  Features forward(const torch::Tensor& images, const Request&) override {
    return {.pooled = norm_(images).mean({2, 3})};
  }

 private:
  torch::nn::BatchNorm2d norm_;
  torch::Tensor index_, mask_, flag_;
};

TEST(HeadedEncoder, OnlyBatchNormHasStatistics) {
  HeadedEncoder model(std::make_shared<OddBuffers>(), kScoreHead, 5);
  std::set<std::string> statistics;
  for (const auto& [name, tensor] : model.statistics()) statistics.insert(name);
  EXPECT_EQ(statistics, (std::set<std::string>{"norm.running_mean", "norm.running_var", "norm.num_batches_tracked"}));
  std::map<std::string, torch::Tensor> weights;
  for (const auto& [name, tensor] : model.state()) weights.emplace(name, tensor.clone());
  EXPECT_EQ(weights.size(), 7U) << "and two parameters each of the norm and the head";
  model.load(weights, "a test", false);  // an infinite mask among them would be refused
}

TEST(FeatureDropout, LeavesOutItsShareAndScalesTheRest) {
  IdentityHead head;
  const torch::Tensor features = head.outputs();
  head.model->set_feature_dropout(0.25);
  const torch::Tensor dropped = head.outputs();
  const torch::Tensor kept = (dropped != 0).logical_and(features != 0);
  EXPECT_TRUE(torch::allclose(dropped.masked_select(kept), features.masked_select(kept) / 0.75));
  const double present = (features != 0).sum().item<double>();
  // 1,024 features of 4 pictures; four standard deviations of the share are 0.028.
  EXPECT_GT(present, 4000);
  EXPECT_NEAR(kept.sum().item<double>() / present, 0.75, 0.028);
}

TEST(FeatureDropout, IsOffInEvaluationAndFollowsTheSeedInTraining) {
  IdentityHead head;
  const torch::Tensor features = head.outputs();
  head.model->set_feature_dropout(0.5);
  torch::manual_seed(7);
  const torch::Tensor first = head.outputs();
  torch::manual_seed(7);
  EXPECT_TRUE(torch::equal(first, head.outputs()));
  EXPECT_FALSE(torch::equal(first, head.outputs()));
  head.model->eval();
  EXPECT_TRUE(torch::equal(features, head.outputs()));
}

struct Passed {
  torch::Tensor outputs;
  std::vector<torch::Tensor> gradients;
};

Passed pass(const char* encoder, const ComputeSettings& settings) {
  torch::manual_seed(3);
  HeadedEncoder model(make_encoder(encoder, 64), kScoreHead, 5);
  model.use(settings);
  const torch::Tensor images = torch::randn({8, 3, 64, 64});
  Passed passed{model.forward(images), {}};
  passed.outputs.square().sum().backward();
  for (const auto& [name, tensor] : model.trainable()) {
    EXPECT_EQ(tensor.grad().scalar_type(), torch::kFloat) << name;
    passed.gradients.push_back(tensor.grad());
  }
  return passed;
}

double relative_difference(const torch::Tensor& a, const torch::Tensor& b) {
  return ((a - b).norm() / b.norm()).item<double>();
}

TEST(ComputeSettings, ChangeNothingButRounding) {
  for (const char* const encoder : {"ViT-demo-16", "resnet18"}) {
    const Passed usual = pass(encoder, {});
    const Passed plain = pass(encoder, {Precision::kFp32, MemoryFormat::kContiguous});
    EXPECT_LT(relative_difference(plain.outputs, usual.outputs), 1e-5) << encoder;
    for (const MemoryFormat format : {MemoryFormat::kChannelsLast, MemoryFormat::kContiguous}) {
      const Passed half = pass(encoder, {Precision::kBf16, format});
      EXPECT_EQ(half.outputs.scalar_type(), torch::kFloat);
      const double difference = relative_difference(half.outputs, usual.outputs);
      EXPECT_LT(difference, 0.05) << encoder;
      EXPECT_GT(difference, 1e-4) << encoder << ": computed in float32 after all";
      // bfloat16 has 8 bits: of all gradients together, a few per cent.
      double apart = 0;
      double length = 0;
      for (std::size_t i = 0; i < usual.gradients.size(); ++i) {
        apart += (half.gradients[i] - usual.gradients[i]).square().sum().item<double>();
        length += usual.gradients[i].square().sum().item<double>();
      }
      EXPECT_LT(std::sqrt(apart / length), 0.1) << encoder;
    }
  }
}

TEST(ComputeSettings, HoldWithinForwardOnly) {
  torch::manual_seed(3);
  HeadedEncoder model(make_encoder("ViT-demo-16", 32), kScoreHead, 5);
  model.use({Precision::kBf16, MemoryFormat::kChannelsLast});
  const torch::Tensor before = model.forward(torch::ones({1, 3, 32, 32}));
  const torch::Tensor square = torch::randn({8, 8});
  EXPECT_EQ(square.matmul(square).scalar_type(), torch::kFloat);
  {
    // Cast weights must not be kept from one forward pass to the next, between which they change.
    const torch::NoGradGuard no_gradients;
    for (const auto& [name, tensor] : model.trainable()) torch::Tensor(tensor).mul_(1.5);
  }
  EXPECT_GT(relative_difference(model.forward(torch::ones({1, 3, 32, 32})), before), 0.1);
}

}  // namespace
}  // namespace cskd::models

#include "models/headed_encoder.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

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

}  // namespace
}  // namespace cskd::models

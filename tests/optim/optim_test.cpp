// Optimiser and schedule against closed forms and against torch::optim.
#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/optim/adamw.h>
#include <torch/types.h>
#include <torch/utils.h>

#include "optim/optimizer.h"
#include "optim/schedule.h"
#include "optim/weight_average.h"
#include "runtime/check.h"

namespace cskd {
namespace {

TEST(Schedule, RisesThenFallsByACosine) {
  const optim::Schedule schedule{.peak = 2, .final_share = 0.1, .warmup = 10, .steps = 110};
  EXPECT_DOUBLE_EQ(optim::learning_rate(schedule, 0), 0.2);
  EXPECT_DOUBLE_EQ(optim::learning_rate(schedule, 9), 2);
  EXPECT_DOUBLE_EQ(optim::learning_rate(schedule, 10), 2);
  EXPECT_NEAR(optim::learning_rate(schedule, 60), 0.2 + 1.8 * 0.5, 1e-12);
  EXPECT_NEAR(optim::learning_rate(schedule, 110), 0.2, 1e-12);
  EXPECT_DOUBLE_EQ(optim::learning_rate({.peak = 1, .final_share = 0, .warmup = 0, .steps = 4}, 0), 1);
}

TEST(Schedule, FallsAtItsStepsInAnyOrder) {
  const optim::Schedule schedule{.peak = 2,
                                 .final_share = 0.5,
                                 .warmup = 4,
                                 .steps = 40,
                                 .kind = optim::Schedule::Kind::kFalling,
                                 .falls = {20, 10}};
  EXPECT_DOUBLE_EQ(optim::learning_rate(schedule, 0), 0.5);
  EXPECT_DOUBLE_EQ(optim::learning_rate(schedule, 9), 2);
  EXPECT_DOUBLE_EQ(optim::learning_rate(schedule, 10), 1);
  EXPECT_DOUBLE_EQ(optim::learning_rate(schedule, 19), 1);
  EXPECT_DOUBLE_EQ(optim::learning_rate(schedule, 20), 0.5);
  EXPECT_DOUBLE_EQ(optim::learning_rate(schedule, 39), 0.5);
}

TEST(ScaledRate, FollowsTheBatchOrItsRoot) {
  EXPECT_EQ(optim::scaled_rate(0.3, optim::RateScaling::kNone, 8192, 256), 0.3);
  EXPECT_DOUBLE_EQ(optim::scaled_rate(0.1, optim::RateScaling::kLinear, 8192, 256), 3.2);  // Goyal et al., table 1
  EXPECT_DOUBLE_EQ(optim::scaled_rate(0.1, optim::RateScaling::kLinear, 64, 256), 0.025);
  EXPECT_DOUBLE_EQ(optim::scaled_rate(0.001, optim::RateScaling::kSquareRoot, 4096, 256), 0.004);
}

TEST(AverageDecay, StartsLow) {
  EXPECT_DOUBLE_EQ(optim::average_decay(0.999, 0), 0.1);
  EXPECT_DOUBLE_EQ(optim::average_decay(0.999, 1'000'000), 0.999);
}

TEST(AdamW, EqualsTorchsOwn) {
  torch::manual_seed(3);
  const at::Tensor matrix = torch::randn({5, 7}).requires_grad_();
  const at::Tensor bias = torch::randn({7}).requires_grad_();
  const at::Tensor matrix2 = matrix.detach().clone().requires_grad_();
  const at::Tensor bias2 = bias.detach().clone().requires_grad_();
  const auto ours = optim::make_optimizer(
      {{"matrix", matrix}, {"bias", bias}},
      {.weight_decay = 0.1, .rate = [](const std::string& name) { return name == "matrix" ? 1 : 0.25; }});
  std::vector<torch::optim::OptimizerParamGroup> groups;
  groups.emplace_back(std::vector<at::Tensor>{matrix2},
                      std::make_unique<torch::optim::AdamWOptions>(torch::optim::AdamWOptions(0.01).weight_decay(0.1)));
  groups.emplace_back(std::vector<at::Tensor>{bias2},
                      std::make_unique<torch::optim::AdamWOptions>(torch::optim::AdamWOptions(0.0025).weight_decay(0)));
  torch::optim::AdamW theirs(groups);
  for (int step = 0; step < 20; ++step) {
    const at::Tensor input = torch::randn({3, 5});
    for (const auto& [m, b] : {std::pair{matrix, bias}, {matrix2, bias2}}) {
      m.mutable_grad() = at::Tensor();
      b.mutable_grad() = at::Tensor();
      (input.matmul(m) + b).square().sum().backward();
    }
    ours->step(0.01);
    theirs.step();
  }
  EXPECT_TRUE(at::allclose(matrix, matrix2, 1e-5, 1e-6));
  EXPECT_TRUE(at::allclose(bias, bias2, 1e-5, 1e-6));
}

TEST(Optimizer, NamesAParameterWithoutGradient) {
  const auto optimiser = optim::make_optimizer({{"lonely", torch::ones({2, 2}).requires_grad_()}}, {});
  try {
    optimiser->step(0.1);
    FAIL() << "stepped without a gradient";
  } catch (const runtime::CheckFailure& failure) {
    EXPECT_THAT(failure.what(), testing::HasSubstr("'lonely'"));
  }
}

TEST(WeightAverage, MovesByTheDecayAndCopiesCounts) {
  const at::Tensor model = torch::full({3}, 2.0F);
  const at::Tensor count = torch::full({}, 7, torch::kLong);
  const at::Tensor average = torch::zeros({3});
  const at::Tensor count_average = torch::zeros({}, torch::kLong);
  optim::WeightAverage weights({model, count}, {average, count_average});
  EXPECT_TRUE(average.eq(2).all().item<bool>());
  model.fill_(4);
  count.fill_(8);
  weights.update(0.75);
  EXPECT_TRUE(at::allclose(average, torch::full({3}, 2.5F)));
  EXPECT_EQ(count_average.item<std::int64_t>(), 8);
}

}  // namespace
}  // namespace cskd

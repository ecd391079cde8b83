// The start-up probe of a training: what it times, and that it leaves no trace.
#include "training/task_probe.h"

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>
#include <torch/utils.h>

namespace cskd::training {
namespace {

using models::ComputeSettings;
using models::MemoryFormat;
using models::Precision;
using testing::ElementsAre;

// A convolution with a BatchNorm whose statistics every loss moves, and dropout.
class Convolution final : public TrainedModel, public Objective {
 public:
  NamedTensors trainable() override { return {{"weight", weight_}}; }
  NamedTensors state() override { return {{"weight", weight_}, {"mean", mean_}, {"count", count_}}; }
  NamedTensors average() override { return {{"weight", average_}}; }
  NamedTensors statistics() override { return {{"mean", mean_}, {"count", count_}}; }
  double rate(const std::string&) const override { return 1; }
  bool decays(const std::string&, const at::Tensor&) const override { return true; }
  std::vector<std::pair<std::string, std::string>> metadata() const override { return {}; }
  void use(const ComputeSettings& settings) override {
    settings_ = settings;
    const auto format = settings.memory_format == MemoryFormat::kChannelsLast ? at::MemoryFormat::ChannelsLast
                                                                              : at::MemoryFormat::Contiguous;
    for (const at::Tensor& tensor : {weight_, average_}) tensor.set_data(tensor.detach().contiguous(format));
  }
  void start(std::uint64_t) override { ++starts; }
  MicroBatchResult micro_batch(std::uint64_t, std::uint64_t) override {
    ++micro_batches;
    return {};
  }
  at::Tensor pictures() const override { return {}; }
  std::function<at::Tensor()> rehearsal() const override {
    ++rehearsals;
    const at::Tensor images = torch::ones({2, 3, 8, 8});
    return [this, images] {
      EXPECT_FALSE(weight_.grad().defined()) << "as in a step";
      if (computed.empty() || computed.back() != settings_) computed.push_back(settings_);
      EXPECT_EQ(weight_.is_contiguous(at::MemoryFormat::ChannelsLast),
                settings_.memory_format == MemoryFormat::kChannelsLast);
      const at::Tensor features = torch::dropout(torch::conv2d(images, weight_), 0.5, true);
      const at::NoGradGuard no_gradients;
      mean_.add_(1);
      count_.add_(1);
      const at::AutoGradMode gradients(true);
      return features.square().mean();
    };
  }
  Task task() {
    return {.name = "align.student", .model = *this, .objective = *this, .validation = {.run = {}, .main_figure = {}}};
  }

  mutable std::vector<ComputeSettings> computed;
  mutable int rehearsals = 0;
  int starts = 0, micro_batches = 0;

 private:
  ComputeSettings settings_;
  at::Tensor weight_ = torch::linspace(-1, 1, 4 * 3 * 3 * 3).view({4, 3, 3, 3}).set_requires_grad(true);
  at::Tensor average_ = weight_.detach().clone();
  at::Tensor mean_ = torch::zeros({}), count_ = torch::zeros({}, torch::kLong);
};

TEST(TaskProbe, TimesTheRehearsalInEverySetting) {
  const auto communicator = distributed::make_local_communicator(at::kCPU);
  Convolution convolution;
  const ProbeResult result = probe_task(convolution.task(), {}, *communicator);
  std::vector<ComputeSettings> cases;
  for (const ProbeCase& each : result.cases) {
    cases.push_back(each.settings);
    EXPECT_GT(each.seconds, 0);
  }
  EXPECT_EQ(cases.size(), 4U);
  EXPECT_EQ(convolution.computed, cases);
  EXPECT_EQ(convolution.rehearsals, 1) << "one batch for all";
  EXPECT_EQ(convolution.starts + convolution.micro_batches, 0) << "apart from the order of batches";
}

TEST(TaskProbe, LeavesNoTrace) {
  const auto communicator = distributed::make_local_communicator(at::kCPU);
  Convolution convolution;
  const auto facts = [&] {
    std::vector<std::pair<at::Tensor, std::vector<std::int64_t>>> all;
    for (const NamedTensors& tensors : {convolution.state(), convolution.average()}) {
      for (const auto& [name, tensor] : tensors) all.emplace_back(tensor.detach().clone(), tensor.strides().vec());
    }
    return all;
  };
  torch::manual_seed(7);
  const at::Tensor expected_random = torch::rand({5});
  torch::manual_seed(7);
  const void* const memory = convolution.trainable()[0].second.data_ptr();
  const auto before = facts();
  ASSERT_FALSE(probe_task(convolution.task(), {}, *communicator).cases.empty());
  const auto after = facts();
  for (std::size_t i = 0; i < before.size(); ++i) {
    EXPECT_TRUE(after[i].first.equal(before[i].first)) << i;
    EXPECT_EQ(after[i].second, before[i].second) << i;
  }
  EXPECT_EQ(convolution.trainable()[0].second.data_ptr(), memory);
  EXPECT_FALSE(convolution.trainable()[0].second.grad().defined());
  EXPECT_TRUE(torch::rand({5}).equal(expected_random));
}

TEST(TaskProbe, AsksForNoBatchWhereThereIsNoChoice) {
  const auto communicator = distributed::make_local_communicator(at::kCPU);
  Convolution convolution;
  const ProbeResult result = probe_task(
      convolution.task(), {.precision = Precision::kBf16, .memory_format = MemoryFormat::kContiguous}, *communicator);
  EXPECT_EQ(result.chosen, (ComputeSettings{Precision::kBf16, MemoryFormat::kContiguous}));
  EXPECT_EQ(convolution.rehearsals, 0);
}

}  // namespace
}  // namespace cskd::training

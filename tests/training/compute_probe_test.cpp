#include "training/compute_probe.h"

#include <algorithm>
#include <chrono>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/error.h"
#include "training/model_cost.h"

namespace cskd::training {
namespace {

using models::ComputeSettings;
using models::MemoryFormat;
using models::Precision;

constexpr ComputeSettings kUsual{};
constexpr ComputeSettings kPlain{Precision::kFp32, MemoryFormat::kContiguous};
constexpr ComputeSettings kHalf{Precision::kBf16, MemoryFormat::kChannelsLast};
constexpr ComputeSettings kPlainHalf{Precision::kBf16, MemoryFormat::kContiguous};

TEST(ComputeProbe, LeavesTheUsualSettingsOnlyForAClearGain) {
  EXPECT_EQ(choose({{kUsual, 1.0}, {kPlain, 0.97}, {kHalf, 0.95}, {kPlainHalf, 0.93}}), kUsual);
  EXPECT_EQ(choose({{kUsual, 1.0}, {kPlain, 0.9}, {kHalf, 0.95}, {kPlainHalf, 2.0}}), kPlain);
  EXPECT_EQ(choose({{kUsual, 1.0}, {kPlain, 2.0}, {kHalf, 0.6}, {kPlainHalf, 0.58}}), kHalf);
  EXPECT_EQ(choose({{kUsual, 1.0}, {kPlain, 1.5}, {kHalf, 0.6}, {kPlainHalf, 0.3}}), kPlainHalf);
  // Against the better of fp32's formats.
  EXPECT_EQ(choose({{kUsual, 2.0}, {kPlain, 1.0}, {kHalf, 0.95}, {kPlainHalf, 0.95}}), kPlain);
  EXPECT_EQ(choose({{kPlain, 1.0}, {kPlainHalf, 0.2}}), kPlainHalf);
  EXPECT_EQ(choose({{kHalf, 1.0}, {kPlainHalf, 0.5}}), kPlainHalf);
}

TEST(ComputeProbe, MeasuresWhatIsNotGiven) {
  const auto communicator = distributed::make_local_communicator(at::kCPU);
  std::vector<ComputeSettings> measured;
  const auto seconds = [&](const ComputeSettings& settings) {
    measured.push_back(settings);
    return settings == kPlainHalf ? 0.5 : 1.0;
  };
  const ProbeResult all = probe_compute({}, seconds, *communicator);
  EXPECT_THAT(measured, testing::ElementsAre(kUsual, kPlain, kHalf, kPlainHalf));
  ASSERT_EQ(all.cases.size(), 4U);
  EXPECT_EQ(all.cases[3].settings, kPlainHalf);
  EXPECT_EQ(all.cases[3].seconds, 0.5);
  EXPECT_EQ(all.chosen, kPlainHalf);

  measured.clear();
  const ProbeResult formats =
      probe_compute({.precision = Precision::kBf16, .memory_format = {}}, seconds, *communicator);
  EXPECT_THAT(measured, testing::ElementsAre(kHalf, kPlainHalf));
  EXPECT_EQ(formats.chosen, kPlainHalf);

  measured.clear();
  const ProbeResult nothing = probe_compute({.precision = Precision::kFp32, .memory_format = MemoryFormat::kContiguous},
                                            seconds, *communicator);
  EXPECT_THAT(measured, testing::IsEmpty());
  EXPECT_THAT(nothing.cases, testing::IsEmpty());
  EXPECT_EQ(nothing.chosen, kPlain);
}

TEST(ComputeProbe, TakesTheBestOfSomeRunsAfterAFirst) {
  using Clock = std::chrono::steady_clock;
  std::vector<double> times;
  const double best = best_time(
      [&] {
        const auto start = Clock::now();
        std::this_thread::sleep_for(std::chrono::milliseconds(times.empty() ? 1 : 5));
        times.push_back(std::chrono::duration<double>(Clock::now() - start).count());
      },
      at::kCPU);
  ASSERT_GE(times.size(), 2U);
  EXPECT_GE(best, *std::min_element(times.begin() + 1, times.end())) << "the first run does not count";
}

TEST(ModelCost, MeasuresAModelOnNoise) {
  const ModelSubject subject{.encoder = "mobilenetv3_small_100", .image_size = 32, .outputs = 3, .batch = 2};
  const ModelCost cost = measure_cost(subject, kUsual, at::kCPU);
  EXPECT_GT(cost.parameters, 1'000'000);
  EXPECT_GT(cost.training_seconds, 0);
  EXPECT_GT(cost.forward_seconds, 0);
  EXPECT_GT(training_seconds(subject, kPlainHalf, at::kCPU), 0);
  // The head alone, of an encoder that no gradient reaches.
  EXPECT_GT(training_seconds({.encoder = "ViT-demo-16", .image_size = 32, .trains_encoder = false}, kUsual, at::kCPU),
            0);
  EXPECT_THROW(training_seconds({.encoder = "nothing"}, kUsual, at::kCPU), runtime::UsageError);
}

}  // namespace
}  // namespace cskd::training

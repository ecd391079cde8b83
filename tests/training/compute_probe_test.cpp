#include "training/compute_probe.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/error.h"

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
  ProbeOptions options{.encoder = "mobilenetv3_small_100", .image_size = 32, .outputs = 3, .batch = 2};
  const ProbeResult all = probe_compute(options, *communicator);
  ASSERT_EQ(all.cases.size(), 4U);
  EXPECT_EQ(all.chosen, choose(all.cases));
  for (const ProbeCase& each : all.cases) EXPECT_GT(each.seconds, 0);

  options.precision = Precision::kBf16;
  const ProbeResult formats = probe_compute(options, *communicator);
  ASSERT_EQ(formats.cases.size(), 2U);
  EXPECT_EQ(formats.chosen.precision, Precision::kBf16);

  options.memory_format = MemoryFormat::kContiguous;
  const ProbeResult nothing = probe_compute(options, *communicator);
  EXPECT_TRUE(nothing.cases.empty());
  EXPECT_EQ(nothing.chosen, kPlainHalf);

  // The head alone, of an encoder that no gradient reaches.
  EXPECT_EQ(
      probe_compute({.encoder = "ViT-demo-16", .image_size = 32, .trains_encoder = false}, *communicator).cases.size(),
      4U);
  EXPECT_THROW(probe_compute({.encoder = "nothing"}, *communicator), runtime::UsageError);
}

}  // namespace
}  // namespace cskd::training

#include "distributed/devices/accelerators.h"

#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "distributed/devices/cpu_compute.h"

namespace cskd::distributed {
namespace {

TEST(Accelerators, AgreeWithTheDriverAboutGpus) {
  const Accelerators found = find_accelerators();
  const bool has_device_files = std::filesystem::exists("/dev/nvidia0");
  EXPECT_EQ(!found.gpus.empty(), has_device_files && found.cuda_build && found.problem.empty());
  for (const Gpu& gpu : found.gpus) {
    EXPECT_FALSE(gpu.name.empty());
    EXPECT_THAT(gpu.uuid, testing::MatchesRegex("GPU-[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"));
  }
}

TEST(Accelerators, VersionsAreThoseOfTheBuild) {
  const Accelerators found = find_accelerators();
  if (!found.cuda_build) {
    EXPECT_EQ(nccl_version(), "none");
    GTEST_SKIP() << "a build without CUDA";
  }
  EXPECT_THAT(found.cuda_runtime, testing::StartsWith("13."));
  EXPECT_THAT(found.nccl, testing::StartsWith("2.28."));
}

TEST(CpuCompute, MeasuresARateAboveZero) {
  const CpuCompute compute = measure_cpu_compute();
  EXPECT_FALSE(compute.capability.empty());
  EXPECT_GE(compute.threads, 1);
  EXPECT_GT(compute.gflops, 0.1);
}

}  // namespace
}  // namespace cskd::distributed

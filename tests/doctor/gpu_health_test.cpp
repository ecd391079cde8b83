#include "doctor/gpu_health.h"

#include <cstdlib>
#include <functional>

#include <dlfcn.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace cskd::doctor {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// The stand-in is loaded under the real one's name first, and so found by it.
class FakeDriver : public testing::Test {
 protected:
  FakeDriver() : library_(::dlopen(CSKD_FAKE_NVML, RTLD_NOW | RTLD_LOCAL)) {}
  ~FakeDriver() override {
    if (library_ != nullptr) ::dlclose(library_);
    ::unsetenv("FAKE_NVML_GPUS");
    ::unsetenv("FAKE_NVML_TROUBLE");
  }

  GpuHealth look(const char* gpus, const char* trouble) const {
    EXPECT_NE(library_, nullptr) << ::dlerror();
    ::setenv("FAKE_NVML_GPUS", gpus, 1);
    ::setenv("FAKE_NVML_TROUBLE", trouble, 1);
    return look_at_gpus();
  }

  void* library_;
};

TEST_F(FakeDriver, HealthyGpusHaveNothingToTell) {
  const GpuHealth health = look("2", "");
  EXPECT_EQ(health.driver, "580.82");
  EXPECT_EQ(health.problem, "");
  ASSERT_EQ(health.gpus.size(), 2U);
  for (const GpuState& gpu : health.gpus) {
    EXPECT_EQ(gpu.name, "Fake GPU");
    EXPECT_EQ(gpu.bus, "00000000:3B:00.0");
    EXPECT_EQ(gpu.temperature, 40);
    EXPECT_EQ(gpu.slowdown_temperature, 90);
    EXPECT_THAT(gpu.throttling, IsEmpty());
    EXPECT_EQ(gpu.uncorrected_errors, 0U);
    EXPECT_FALSE(gpu.rows_pending || gpu.rows_failed);
    EXPECT_TRUE(gpu.persistence);
    EXPECT_EQ(gpu.compute_mode, "default");
    EXPECT_EQ(gpu.other_processes, 0);
    EXPECT_EQ(gpu.link_width, 16);
    EXPECT_EQ(gpu.link_width_possible, 16);
  }
  EXPECT_EQ(health.gpus[1].uuid, "GPU-2");
}

TEST_F(FakeDriver, EachTroubleIsFoundAtItsGpu) {
  const auto second = [this](const char* trouble) {
    const GpuHealth health = look("2", trouble);
    EXPECT_EQ(health.gpus.size(), 2U);
    return health.gpus.at(1);
  };
  EXPECT_EQ(second("hot").temperature, 89);
  EXPECT_THAT(second("throttled").throttling, ElementsAre("power brake"));
  EXPECT_EQ(second("ecc").uncorrected_errors, 3U);
  EXPECT_TRUE(second("pending").rows_pending);
  EXPECT_TRUE(second("failed").rows_failed);
  EXPECT_EQ(second("prohibited").compute_mode, "prohibited");
  EXPECT_EQ(second("shared").other_processes, 2);
  EXPECT_EQ(second("lanes").link_width, 4);
}

TEST_F(FakeDriver, AGpuThatDoesNotAnswerIsNamed) {
  const GpuHealth health = look("2", "lost");
  EXPECT_EQ(health.gpus.size(), 1U);
  EXPECT_THAT(health.problem, HasSubstr("GPU 1 does not answer (error 15)"));
}

TEST_F(FakeDriver, ADriverThatIsNotLoadedIsTold) {
  EXPECT_EQ(look("1", "no driver").problem, "NVIDIA's driver is not loaded");
}

TEST(NoDriver, IsNoError) {
  if (void* const real = ::dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL)) {
    ::dlclose(real);
    GTEST_SKIP() << "this machine has NVIDIA's driver";
  }
  const GpuHealth health = look_at_gpus();
  EXPECT_EQ(health.problem, "no NVIDIA driver");
  EXPECT_TRUE(health.gpus.empty());
}

}  // namespace
}  // namespace cskd::doctor

// Looking at GPUs makes no context on them: on a node with eight, eight ranks would make 64, and in exclusive mode
// fail. The CUDA runtime is a stand-in with eight devices, which notes what would make one.
#include <cstdio>
#include <cstring>
#include <set>
#include <string>

#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include "distributed/devices/accelerators.h"

namespace {

int contexts = 0;
constexpr int kDevices = 8;

cudaError_t make_context() {
  ++contexts;
  return cudaSuccess;
}

}  // namespace

extern "C" {
// NOLINTBEGIN(readability-identifier-naming): names of the CUDA runtime
cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = 13000;
  return cudaSuccess;
}
cudaError_t cudaDriverGetVersion(int* version) {
  *version = 13000;
  return cudaSuccess;
}
cudaError_t cudaGetDeviceCount(int* count) {
  *count = kDevices;
  return cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  std::memset(properties, 0, sizeof(*properties));
  std::snprintf(properties->name, sizeof(properties->name), "stand-in %d", device);
  properties->uuid.bytes[15] = static_cast<char>(device);
  properties->major = 9;
  properties->totalGlobalMem = std::size_t{141} << 30;
  return cudaSuccess;
}
cudaError_t cudaSetDevice(int /*device*/) { return make_context(); }  // since CUDA 12
cudaError_t cudaInitDevice(int /*device*/, unsigned /*flags*/, unsigned /*which*/) { return make_context(); }
cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* total) {
  *free = *total = 0;
  return make_context();
}
cudaError_t cudaFree(void* /*memory*/) { return make_context(); }
// NOLINTEND(readability-identifier-naming)
}

namespace cskd::distributed {
namespace {

TEST(CudaContexts, LookingMakesNone) {
  const Accelerators found = find_accelerators();
  ASSERT_EQ(found.problem, "");
  std::set<std::string> devices;
  for (const Gpu& gpu : found.gpus) devices.insert(gpu.uuid);
  EXPECT_EQ(devices.size(), static_cast<std::size_t>(kDevices));
  EXPECT_EQ(contexts, 0);
}

}  // namespace
}  // namespace cskd::distributed

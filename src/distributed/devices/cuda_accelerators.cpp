#include <cuda_runtime_api.h>
#include <fmt/format.h>
#include <nccl.h>

#include "distributed/devices/accelerators.h"

namespace cskd::distributed {
namespace {

// CUDA writes 13.1 as 13010.
std::string cuda_version(int number) { return fmt::format("{}.{}", number / 1000, number % 1000 / 10); }

std::string format_uuid(const cudaUUID_t& uuid) {
  std::string text = "GPU-";
  for (int i = 0; i < 16; ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) text += '-';
    text += fmt::format("{:02x}", static_cast<unsigned char>(uuid.bytes[i]));
  }
  return text;
}

Gpu describe_gpu(int device) {
  cudaDeviceProp properties{};
  Gpu gpu;
  if (cudaGetDeviceProperties(&properties, device) != cudaSuccess) return gpu;
  gpu.name = properties.name;
  gpu.uuid = format_uuid(properties.uuid);
  gpu.compute_capability = fmt::format("{}.{}", properties.major, properties.minor);
  gpu.memory_total = properties.totalGlobalMem;
  return gpu;
}

}  // namespace

Accelerators find_accelerators() {
  Accelerators found;
  found.cuda_build = true;
  found.nccl = nccl_version();
  int number = 0;
  if (cudaRuntimeGetVersion(&number) == cudaSuccess) found.cuda_runtime = cuda_version(number);
  // Without a driver this succeeds with version 0.
  if (cudaDriverGetVersion(&number) != cudaSuccess || number == 0) return found;
  found.cuda_driver = cuda_version(number);

  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status == cudaErrorNoDevice) return found;
  if (status != cudaSuccess) {
    found.problem = fmt::format("{} (driver supports CUDA {}, cskd needs {})", cudaGetErrorString(status),
                                found.cuda_driver, found.cuda_runtime);
    return found;
  }
  for (int device = 0; device < count; ++device) found.gpus.push_back(describe_gpu(device));
  return found;
}

std::string nccl_version() {
  int number = 0;
  if (ncclGetVersion(&number) != ncclSuccess) return "unknown";
  return fmt::format("{}.{}.{}", number / 10000, number % 10000 / 100, number % 100);
}

}  // namespace cskd::distributed

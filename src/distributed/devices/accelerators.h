// The GPUs that this process can use, and the CUDA and NCCL libraries behind them.
//
// cuda_accelerators.cpp answers in a CUDA build of LibTorch, its twin no_cuda_accelerators.cpp in a CPU-only one; CMake
// links one of them, so that callers hold no #ifdef.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace cskd::distributed {

struct Gpu {
  std::string name;
  std::string uuid;                // "GPU-...", as nvidia-smi prints it; equal for two ranks means the same device
  std::string compute_capability;  // "9.0"
  std::uint64_t memory_total = 0;  // bytes
};

struct Accelerators {
  bool cuda_build = false;   // this cskd was built with CUDA and NCCL
  std::string cuda_runtime;  // "13.0", empty without a CUDA build
  std::string cuda_driver;   // newest CUDA version the driver supports, empty when no driver is loaded
  std::string nccl;          // "2.28.9", empty without a CUDA build
  std::vector<Gpu> gpus;
  std::string problem;  // why a driver is there but its GPUs cannot be used; empty when there is none
};

// Never throws for a missing GPU or driver. Creates no CUDA context unless a GPU is there.
Accelerators find_accelerators();

// "2.28.9", or "none" in a build without NCCL; asks the library, not the driver.
std::string nccl_version();

}  // namespace cskd::distributed

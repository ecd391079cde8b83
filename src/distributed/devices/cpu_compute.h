// The speed that LibTorch reaches on this process's processor cores.
#pragma once

#include <string>

namespace cskd::distributed {

struct CpuCompute {
  std::string capability;  // the instruction set LibTorch's kernels were chosen for: "AVX512", "AVX2", "DEFAULT"
  int threads = 0;         // of one operation
  double gflops = 0;       // of a float32 matrix product, 10^9 operations a second
};

// Multiplies float32 matrices [768, 768] for about a tenth of a second.
CpuCompute measure_cpu_compute();

// "2.11.0"
std::string libtorch_version();

}  // namespace cskd::distributed

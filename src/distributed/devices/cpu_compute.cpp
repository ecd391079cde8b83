#include "distributed/devices/cpu_compute.h"

#include <algorithm>
#include <chrono>

#include <ATen/Version.h>
#include <fmt/format.h>
#include <torch/headeronly/version.h>
#include <torch/types.h>
#include <torch/utils.h>

namespace cskd::distributed {

CpuCompute measure_cpu_compute() {
  using Clock = std::chrono::steady_clock;
  constexpr std::int64_t kSide = 768;
  const torch::NoGradGuard no_gradients;
  const torch::Tensor left = torch::ones({kSide, kSide});
  const torch::Tensor right = torch::ones({kSide, kSide});
  torch::Tensor product = torch::mm(left, right);  // warm-up: threads start, kernels are chosen

  double best_seconds = 1e9;
  const Clock::time_point end = Clock::now() + std::chrono::milliseconds(100);
  do {
    const Clock::time_point start = Clock::now();
    torch::mm_out(product, left, right);
    best_seconds = std::min(best_seconds, std::chrono::duration<double>(Clock::now() - start).count());
  } while (Clock::now() < end);
  return {.capability = at::get_cpu_capability(),
          .threads = at::get_num_threads(),
          .gflops = 2.0 * kSide * kSide * kSide / best_seconds * 1e-9};
}

std::string libtorch_version() {
  return fmt::format("{}.{}.{}", TORCH_VERSION_MAJOR, TORCH_VERSION_MINOR, TORCH_VERSION_PATCH);
}

}  // namespace cskd::distributed

// The speed at which the ranks of this world exchange data.
#pragma once

#include <cstdint>

#include "runtime/world.h"

namespace cskd::doctor {

struct MpiSpeed {
  double latency_microseconds = 0;  // all-reduce of 4 bytes, median
  // All-reduce of `bytes` of float32, as nccl-tests defines bus bandwidth: 2 (n-1)/n x bytes / seconds. 0 in a world of
  // one.
  double bus_gb_per_second = 0;
  std::uint64_t bytes = 0;  // 25 MiB, or 1 MiB where that takes long
};

// Collective: every rank must call, and gets its own measurement. Takes seconds at most, also over a slow network.
MpiSpeed measure_mpi(const runtime::World& world);

}  // namespace cskd::doctor

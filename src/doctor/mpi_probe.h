// How fast the ranks of this world exchange data.
#pragma once

#include "runtime/world.h"

namespace cskd::doctor {

struct MpiSpeed {
  double latency_microseconds = 0;  // all-reduce of 4 bytes, median
  // All-reduce of 25 MiB of float32, as nccl-tests defines bus bandwidth: 2 (n-1)/n x bytes / seconds. 0 in a world of
  // one.
  double bus_gb_per_second = 0;
};

// Collective: every rank must call, and gets its own measurement.
MpiSpeed measure_mpi(const runtime::World& world);

}  // namespace cskd::doctor

#include "doctor/mpi_probe.h"

#include <algorithm>
#include <chrono>
#include <vector>

#include <mpi.h>

namespace cskd::doctor {
namespace {

double median_seconds(int count, int repetitions) {
  using Clock = std::chrono::steady_clock;
  std::vector<float> values(static_cast<size_t>(count), 1.0F);
  std::vector<double> samples;
  for (int i = 0; i <= repetitions; ++i) {
    MPI_Barrier(MPI_COMM_WORLD);
    const Clock::time_point start = Clock::now();
    MPI_Allreduce(MPI_IN_PLACE, values.data(), count, MPI_FLOAT, MPI_MAX, MPI_COMM_WORLD);
    if (i > 0)
      samples.push_back(std::chrono::duration<double>(Clock::now() - start).count());  // the first is a warm-up
  }
  std::sort(samples.begin(), samples.end());
  return samples[samples.size() / 2];
}

}  // namespace

MpiSpeed measure_mpi(const runtime::World& world) {
  constexpr int kFloats = 25 << 18;  // 25 MiB
  MpiSpeed speed;
  speed.latency_microseconds = median_seconds(1, 101) * 1e6;
  if (world.size() > 1) {
    const double share = 2.0 * (world.size() - 1) / world.size();
    speed.bus_gb_per_second = share * kFloats * sizeof(float) * 1e-9 / median_seconds(kFloats, 5);
  }
  return speed;
}

}  // namespace cskd::doctor

#include "doctor/mpi_probe.h"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <vector>

#include <mpi.h>

namespace cskd::doctor {
namespace {

using Clock = std::chrono::steady_clock;

// Of one all-reduce.
double seconds_of(std::vector<float>& values, int count) {
  MPI_Barrier(MPI_COMM_WORLD);
  const Clock::time_point start = Clock::now();
  MPI_Allreduce(MPI_IN_PLACE, values.data(), count, MPI_FLOAT, MPI_MAX, MPI_COMM_WORLD);
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// The same on every rank.
double slowest(double seconds) {
  MPI_Allreduce(MPI_IN_PLACE, &seconds, 1, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD);
  return seconds;
}

double median_seconds(int count, int repetitions) {
  std::vector<float> values(static_cast<std::size_t>(count), 1.0F);
  std::vector<double> samples;
  samples.reserve(static_cast<std::size_t>(repetitions));
  for (int i = 0; i < repetitions; ++i) samples.push_back(seconds_of(values, count));
  std::sort(samples.begin(), samples.end());
  return samples[samples.size() / 2];
}

}  // namespace

MpiSpeed measure_mpi(const runtime::World& world) {
  constexpr int kMiB = 1 << 18;  // float32 numbers
  MpiSpeed speed;
  median_seconds(1, 2);  // connections are made
  const bool is_slow = slowest(median_seconds(1, 3)) > 2e-3;
  speed.latency_microseconds = median_seconds(1, is_slow ? 11 : 101) * 1e6;
  if (world.size() > 1) {
    median_seconds(kMiB, 1);
    const int count = slowest(median_seconds(kMiB, 1)) > 2e-2 ? kMiB : 25 * kMiB;
    const int repetitions = slowest(median_seconds(count, 1)) > 0.3 ? 1 : 5;
    const double share = 2.0 * (world.size() - 1) / world.size();
    speed.bytes = static_cast<std::uint64_t>(count) * sizeof(float);
    speed.bus_gb_per_second = share * static_cast<double>(speed.bytes) * 1e-9 / median_seconds(count, repetitions);
  }
  return speed;
}

}  // namespace cskd::doctor

// What it costs to know who is slow: nanoseconds of a rank for each step, and of rank 0 for each step and rank, with
// 30 buckets. One JSON line for each number of ranks.
//   pace_benchmark [RANKS...]
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "distributed/link_quality.h"
#include "distributed/pace.h"

namespace {

using namespace cskd::distributed;
using Clock = std::chrono::steady_clock;

double nanoseconds(Clock::time_point start, double count) {
  return std::chrono::duration<double, std::nano>(Clock::now() - start).count() / count;
}

void measure(int ranks) {
  constexpr int kSteps = 80'000;
  ReduceStatistics reduced;
  reduced.buckets.resize(30);
  PaceMeter meter;
  std::vector<std::string> reports;
  const auto metered = Clock::now();
  for (int step = 0; step < kSteps; ++step) {
    reduced.buckets.back().ready = Clock::now();
    reduced.buckets.back().ended = reduced.buckets.back().ready;
    meter.add(static_cast<std::uint64_t>(step), reduced, {});
    if (step % 80 == 79) reports.push_back(meter.take());
  }
  const double of_rank = nanoseconds(metered, kSteps);
  PaceJudge judge(std::vector<std::string>(static_cast<std::size_t>(ranks), "n1"));
  const std::size_t used = std::max<std::size_t>(1, std::min<std::size_t>(reports.size(), 20'000 / ranks));
  const auto judged = Clock::now();
  for (std::size_t i = 0; i < used; ++i) {
    for (int rank = 0; rank < ranks; ++rank) judge.add(rank, reports[i]);
    static_cast<void>(judge.take_news());
  }
  const double of_rank_0 = nanoseconds(judged, static_cast<double>(used) * 80 * ranks);
  const auto looked = Clock::now();
  for (int i = 0; i < 100; ++i) static_cast<void>(connections_of_this_process());
  fmt::print(
      "{{\"ranks\": {}, \"ns_a_step\": {:.0f}, \"ns_a_step_and_rank_on_rank_0\": {:.0f}, \"ns_a_look_at_connections\": "
      "{:.0f}}}\n",
      ranks, of_rank, of_rank_0, nanoseconds(looked, 100));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 1) {
    for (const int ranks : {2, 64, 4096}) measure(ranks);
  }
  for (int i = 1; i < argc; ++i) measure(std::atoi(argv[i]));
}

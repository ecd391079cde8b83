#include <algorithm>
#include <set>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "doctor/checks.h"
#include "runtime/free_space.h"

namespace cskd::doctor {
namespace {

using runtime::format_bytes;

// Below these something is slow. Chosen so that a laptop with an SSD and one process is fine.
constexpr std::uint64_t kMemoryPerRank = std::uint64_t{2} << 30;
constexpr std::uint64_t kSharedMemory = std::uint64_t{256} << 20;
constexpr std::uint64_t kOpenFiles = 1024;
constexpr std::uint64_t kThreadsPerRank = 256;
constexpr std::uint64_t kStack = std::uint64_t{1} << 20;
constexpr std::uint64_t kLockedMemory = std::uint64_t{1} << 30;
constexpr double kSlowHost = 0.85;  // of the usual speed

Check check_cores(const WorldFacts& world) {
  std::vector<std::string> notes;
  for (const Ranks& host : by_host(world)) {
    std::set<int> used;
    for (const RankFacts* rank : host) used.insert(rank->cores.begin(), rank->cores.end());
    const int ranks = static_cast<int>(host.size());
    const int cores = static_cast<int>(used.size());
    const RankFacts& first = *host.front();
    if (ranks > cores) {
      return {"cores", Verdict::kSlow, fmt::format("{} ranks share {} cores of {}", ranks, cores, first.host),
              "start at most one rank a core; fewer ranks with more threads are faster than ranks that take turns"};
    }
    if (cores < first.cores_online) {
      return {"cores", Verdict::kSlow,
              fmt::format("the {} of {} may use {} of its {} cores", ranks == 1 ? "rank" : "ranks", first.host, cores,
                          first.cores_online),
              world.launcher == "srun" ? "ask for them with --cpus-per-task and srun --cpu-bind=cores"
                                       : "start mpirun with --bind-to none, or with --map-by slot:PE=<cores a rank>"};
    }
    // Unbound ranks may all use all cores; bound ones have cores of their own.
    const bool all_alike =
        std::all_of(host.begin(), host.end(), [&](const RankFacts* rank) { return rank->cores == first.cores; });
    std::size_t together = 0;
    for (const RankFacts* rank : host) together += rank->cores.size();
    if (!all_alike && together > used.size()) {
      return {"cores", Verdict::kSlow, fmt::format("ranks of {} are bound to cores that overlap", first.host),
              "bind each rank to cores of its own (srun --cpu-bind=cores, mpirun --map-by slot:PE=<cores a rank>), or "
              "none"};
    }
    notes.push_back(fmt::format("{} {} for {} on {}", cores, cores == 1 ? "core" : "cores",
                                counted(host.size(), "rank"), first.host));
  }
  return {"cores", Verdict::kFine,
          notes.size() > 4 ? fmt::format("{} hosts, none oversubscribed", notes.size())
                           : fmt::format("{}", fmt::join(notes, "; ")),
          ""};
}

Check check_compute(const WorldFacts& world) {
  const auto slower = [](const RankFacts& a, const RankFacts& b) { return a.compute.gflops < b.compute.gflops; };
  const auto [low, high] = std::minmax_element(world.ranks.begin(), world.ranks.end(), slower);
  const std::string found =
      fmt::format("{:.0f} GFLOP/s float32 a rank ({}, {})", low->compute.gflops, low->compute.capability,
                  counted(static_cast<std::size_t>(low->compute.threads), "thread"));
  if (low->compute.capability == "DEFAULT") {
    return {"compute", Verdict::kSlow, fmt::format("{} on {}", found, low->host),
            "this processor has no AVX2; LibTorch runs its slowest kernels on it"};
  }
  // The usual rank of each host: one that was interrupted does not count.
  std::vector<double> speeds;
  const std::vector<Ranks> hosts = by_host(world);
  for (const Ranks& host : hosts) {
    std::vector<double> of_host;
    for (const RankFacts* rank : host) of_host.push_back(rank->compute.gflops);
    speeds.push_back(quantile(of_host, 0.5));
  }
  // Of two, the slower one is held against the other.
  const double usual = quantile(speeds, speeds.size() < 3 ? 1.0 : 0.5);
  Ranks slow;
  double slowest = usual;
  for (std::size_t i = 0; i < hosts.size(); ++i) {
    if (speeds[i] >= kSlowHost * usual) continue;
    slow.push_back(hosts[i].front());
    slowest = std::min(slowest, speeds[i]);
  }
  if (!slow.empty()) {
    return {"compute", Verdict::kSlow,
            fmt::format("{} {} slow: {:.0f} GFLOP/s a rank, {:.0f} elsewhere", hosts_of(slow),
                        are_of_one_host(slow) ? "is" : "are", slowest, usual),
            "all ranks wait for the slowest one: look there for other load, heat or a lower clock, or leave it out"};
  }
  if (low->compute.gflops * 3 < high->compute.gflops) {
    return {"compute", Verdict::kSlow,
            fmt::format("rank {} on {} reaches {:.0f} GFLOP/s, rank {} on {} {:.0f}", low->rank, low->host,
                        low->compute.gflops, high->rank, high->host, high->compute.gflops),
            "all ranks wait for the slowest one; look for other load or a lower clock on its host"};
  }
  return {"compute", Verdict::kFine, found, ""};
}

Check check_memory(const WorldFacts& world) {
  std::uint64_t least = kUnlimited;
  const RankFacts* tightest = nullptr;
  for (const Ranks& host : by_host(world)) {
    const std::uint64_t each = host.front()->memory_available / host.size();
    if (each < least) {
      least = each;
      tightest = host.front();
    }
  }
  const std::string found = fmt::format("{} available for each rank", format_bytes(least));
  if (least >= kMemoryPerRank) return {"memory", Verdict::kFine, found, ""};
  return {
      "memory", Verdict::kSlow, fmt::format("{} on {}", found, tightest->host),
      fmt::format("start fewer ranks a host or ask for more memory (sbatch --mem): {} a rank is the least that works "
                  "well",
                  format_bytes(kMemoryPerRank))};
}

// One check for each limit that is too low, with all hosts where it is.
Checks check_limits(const WorldFacts& world) {
  struct Limit {
    const char* name;
    std::uint64_t least;
    std::uint64_t (*of)(const RankFacts&);
    bool in_bytes;
    const char* remedy;
  };
  static constexpr Limit kLimits[] = {
      {"open files", kOpenFiles, [](const RankFacts& rank) { return rank.limits.open_files; }, false,
       "ulimit -n 4096 before the start, or LimitNOFILE of slurmd"},
      {"free in /dev/shm", kSharedMemory, [](const RankFacts& rank) { return rank.shared_memory_free; }, true,
       "NCCL and MPI exchange data there; in a container give --shm-size=1g or more, elsewhere remove what lies there"},
      {"processes and threads", 4 * kThreadsPerRank, [](const RankFacts& rank) { return rank.limits.processes; }, false,
       "ulimit -u 65536, or pids.max of the job's control group"},
      {"of stack", kStack, [](const RankFacts& rank) { return rank.limits.stack; }, true, "ulimit -s 8192"},
      {"of locked memory", kLockedMemory,
       [](const RankFacts& rank) { return rank.network.fabric.empty() ? kUnlimited : rank.limits.locked_memory; }, true,
       "RDMA needs it: ulimit -l unlimited, or LimitMEMLOCK=infinity of slurmd and "
       "PropagateResourceLimitsExcept=MEMLOCK"},
  };
  Checks checks;
  for (const Limit& limit : kLimits) {
    Ranks low;
    std::uint64_t least = kUnlimited;
    for (const RankFacts& rank : world.ranks) {
      const std::uint64_t value = limit.of(rank);
      if (value >= limit.least) continue;
      low.push_back(&rank);
      least = std::min(least, value);
    }
    if (low.empty()) continue;
    checks.push_back({"limits", Verdict::kSlow,
                      fmt::format("{}: {} {}", hosts_of(low),
                                  limit.in_bytes ? format_bytes(least) : std::to_string(least), limit.name),
                      limit.remedy});
  }
  if (!checks.empty()) return checks;
  const RankFacts& first = world.ranks.front();
  return {
      {"limits", Verdict::kFine,
       fmt::format("{} open files, {} free in /dev/shm",
                   first.limits.open_files == kUnlimited ? "any number of" : std::to_string(first.limits.open_files),
                   format_bytes(first.shared_memory_free)),
       ""}};
}

Check check_numbers(const WorldFacts& world) {
  Ranks comma;
  Ranks asked;
  for (const RankFacts& rank : world.ranks) {
    if (rank.locale.decimal_point != ".") comma.push_back(&rank);
    if (rank.locale.asked_point != ".") asked.push_back(&rank);
  }
  constexpr const char* kRemedy = "set LC_ALL=C.UTF-8, or LC_NUMERIC=C where LC_ALL is not set";
  if (!comma.empty()) {
    return {"numbers", Verdict::kWrong,
            fmt::format("{}: '{}' is the decimal point (locale {})", hosts_of(comma),
                        comma.front()->locale.decimal_point, comma.front()->locale.name),
            kRemedy};
  }
  if (!asked.empty()) {
    return {"numbers", Verdict::kSlow,
            fmt::format("{}: the locale {} has '{}' for a decimal point, which a library may read numbers by",
                        hosts_of(asked), asked.front()->locale.name, asked.front()->locale.asked_point),
            kRemedy};
  }
  return {"numbers", Verdict::kFine, fmt::format("locale {}", world.ranks.front().locale.name), ""};
}

}  // namespace

Checks check_hosts(const WorldFacts& world) {
  Checks checks{check_cores(world), check_compute(world), check_memory(world)};
  for (Check& check : check_limits(world)) checks.push_back(std::move(check));
  checks.push_back(check_numbers(world));
  return checks;
}

}  // namespace cskd::doctor

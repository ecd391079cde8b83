#include "doctor/checks.h"

#include <algorithm>
#include <set>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "doctor/environment_checks.h"
#include "runtime/check.h"
#include "runtime/free_space.h"

namespace cskd::doctor {
namespace {

using runtime::format_bytes;

// Below these something is slow. Chosen so that a laptop with an SSD and one process is fine.
constexpr double kSlowLatencyMicroseconds = 1000;
constexpr double kSlowBusGbPerSecond = 0.5;
constexpr double kSlowDiskMbPerSecond = 100;
constexpr double kSlowCommitMilliseconds = 200;
constexpr double kSlowClockSeconds = 1;
constexpr std::uint64_t kSlowMemoryPerRank = std::uint64_t{2} << 30;
constexpr std::uint64_t kSlowSharedMemory = std::uint64_t{256} << 20;
constexpr std::uint64_t kSlowOpenFiles = 1024;

std::vector<std::vector<const RankFacts*>> by_node(const WorldFacts& world) {
  std::vector<std::vector<const RankFacts*>> nodes;
  for (const RankFacts& rank : world.ranks) {
    if (nodes.size() <= static_cast<size_t>(rank.node)) nodes.resize(static_cast<size_t>(rank.node) + 1);
    nodes[static_cast<size_t>(rank.node)].push_back(&rank);
  }
  return nodes;
}

Check check_programs(const WorldFacts& world) {
  const RankFacts& first = world.ranks.front();
  for (const RankFacts& rank : world.ranks) {
    if (rank.program_version == first.program_version && rank.libraries == first.libraries) continue;
    return {"program", Verdict::kWrong,
            fmt::format("rank {} on {} runs cskd {} or libraries that differ from rank 0's", rank.rank, rank.host,
                        rank.program_version),
            "start the same build on every node"};
  }
  return {"program", Verdict::kFine, fmt::format("cskd {}, the same on every rank", first.program_version), ""};
}

Check check_cores(const WorldFacts& world) {
  std::vector<std::string> notes;
  for (const auto& node : by_node(world)) {
    std::set<int> used;
    for (const RankFacts* rank : node) used.insert(rank->cores.begin(), rank->cores.end());
    const int ranks = static_cast<int>(node.size());
    const int cores = static_cast<int>(used.size());
    const RankFacts& first = *node.front();
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
    notes.push_back(fmt::format("{} {} for {} {} on {}", cores, cores == 1 ? "core" : "cores", ranks,
                                ranks == 1 ? "rank" : "ranks", first.host));
  }
  return {"cores", Verdict::kFine,
          notes.size() > 4 ? fmt::format("{} nodes, none oversubscribed", notes.size())
                           : fmt::format("{}", fmt::join(notes, "; ")),
          ""};
}

Check check_compute(const WorldFacts& world) {
  const auto slower = [](const RankFacts& a, const RankFacts& b) { return a.compute.gflops < b.compute.gflops; };
  const auto [low, high] = std::minmax_element(world.ranks.begin(), world.ranks.end(), slower);
  const std::string found =
      fmt::format("{:.0f} GFLOP/s float32 a rank ({}, {} {})", low->compute.gflops, low->compute.capability,
                  low->compute.threads, low->compute.threads == 1 ? "thread" : "threads");
  if (low->compute.capability == "DEFAULT") {
    return {"compute", Verdict::kSlow, found, "this processor has no AVX2; LibTorch runs its slowest kernels on it"};
  }
  if (low->compute.gflops * 3 < high->compute.gflops) {
    return {"compute", Verdict::kSlow,
            fmt::format("rank {} on {} reaches {:.0f} GFLOP/s, rank {} on {} {:.0f}", low->rank, low->host,
                        low->compute.gflops, high->rank, high->host, high->compute.gflops),
            "all ranks wait for the slowest one; look for other load or a lower clock on its node"};
  }
  return {"compute", Verdict::kFine, found, ""};
}

Check check_memory(const WorldFacts& world) {
  std::uint64_t least = ~std::uint64_t{0};
  const RankFacts* tightest = nullptr;
  for (const auto& node : by_node(world)) {
    const std::uint64_t each = node.front()->memory_available / node.size();
    if (each < least) {
      least = each;
      tightest = node.front();
    }
  }
  const std::string found = fmt::format("{} available for each rank", format_bytes(least));
  if (least >= kSlowMemoryPerRank) return {"memory", Verdict::kFine, found, ""};
  return {"memory", Verdict::kSlow, fmt::format("{} on {}", found, tightest->host),
          fmt::format("start fewer ranks a node or ask for more memory: {} a rank is the least that works well",
                      format_bytes(kSlowMemoryPerRank))};
}

Check check_limits(const WorldFacts& world) {
  for (const RankFacts& rank : world.ranks) {
    if (rank.shared_memory_free < kSlowSharedMemory) {
      return {"limits", Verdict::kSlow,
              fmt::format("/dev/shm of {} has {} free", rank.host, format_bytes(rank.shared_memory_free)),
              "NCCL and MPI exchange data there; in a container give --shm-size=1g or more"};
    }
    if (rank.open_files_limit < kSlowOpenFiles) {
      return {"limits", Verdict::kSlow, fmt::format("rank {} may open {} files", rank.rank, rank.open_files_limit),
              "ulimit -n 4096"};
    }
  }
  const RankFacts& first = world.ranks.front();
  return {
      "limits", Verdict::kFine,
      fmt::format("{} open files, {} free in /dev/shm", first.open_files_limit, format_bytes(first.shared_memory_free)),
      ""};
}

Check check_gpus(const WorldFacts& world) {
  const RankFacts& first = world.ranks.front();
  for (const auto& node : by_node(world)) {
    const RankFacts& leader = *node.front();
    const distributed::Accelerators& found = leader.accelerators;
    if (!found.problem.empty()) {
      return {"GPUs", Verdict::kWrong, fmt::format("{}: {}", leader.host, found.problem),
              "update the driver of that node, or set CUDA_VISIBLE_DEVICES= to train on processors"};
    }
    if (found.gpus.size() != first.accelerators.gpus.size()) {
      return {"GPUs", Verdict::kWrong,
              fmt::format("{} sees {} GPUs, {} sees {}", first.host, first.accelerators.gpus.size(), leader.host,
                          found.gpus.size()),
              "every node must offer the same number: look at --gpus-per-node and at nvidia-smi on both"};
    }
    std::set<std::string> devices;
    for (const RankFacts* rank : node) {
      for (const distributed::Gpu& gpu : rank->accelerators.gpus) devices.insert(gpu.uuid);
    }
    if (!devices.empty() && node.size() > devices.size()) {
      return {"GPUs", Verdict::kWrong,
              fmt::format("{} ranks share {} GPUs of {}", node.size(), devices.size(), leader.host),
              "NCCL needs a GPU for each rank: start one rank a GPU"};
    }
    if (node.size() < devices.size()) {
      return {"GPUs", Verdict::kSlow,
              fmt::format("{} of {} GPUs of {} stay idle", devices.size() - node.size(), devices.size(), leader.host),
              "start one rank a GPU"};
    }
  }
  if (first.accelerators.gpus.empty()) {
    return {"GPUs", Verdict::kFine,
            first.accelerators.cuda_build ? "none; training runs on the processor cores"
                                          : "none, and this cskd is built without CUDA",
            ""};
  }
  const distributed::Gpu& gpu = first.accelerators.gpus.front();
  return {"GPUs", Verdict::kFine,
          fmt::format("one {} ({}) for each rank, CUDA {}, NCCL {}", gpu.name, format_bytes(gpu.memory_total),
                      first.accelerators.cuda_runtime, first.accelerators.nccl),
          ""};
}

Check check_mpi(const WorldFacts& world) {
  const RankFacts& first = world.ranks.front();
  const std::string transports =
      first.mpi_transports.empty() ? "no transport" : fmt::format("{}", fmt::join(first.mpi_transports, ", "));
  std::string found = fmt::format("{}, {}", first.libraries.contains("MPI") ? first.libraries.at("MPI") : "MPI",
                                  first.mpi_thread_level);
  if (world.ranks.size() == 1) return {"MPI", Verdict::kFine, found, ""};
  found += fmt::format(", {}; all-reduce {:.1f} us for 4 B, {:.1f} GB/s for 25 MiB", transports,
                       world.mpi.latency_microseconds, world.mpi.bus_gb_per_second);
  const bool several_nodes = world.ranks.back().node > 0;
  if (world.mpi.latency_microseconds > kSlowLatencyMicroseconds) {
    return {"MPI", Verdict::kSlow, found,
            "with more ranks than cores set OMPI_MCA_mpi_yield_when_idle=1; otherwise look at the network"};
  }
  if (world.mpi.bus_gb_per_second < kSlowBusGbPerSecond) {
    return {"MPI", Verdict::kSlow, found,
            several_nodes
                ? "use an MPI with the transport of your network (UCX, OFI), or choose the fast interface with "
                  "OMPI_MCA_btl_tcp_if_include"
                : "ranks of one node should use shared memory (vader); look at OMPI_MCA_btl"};
  }
  return {"MPI", Verdict::kFine, found, ""};
}

Check check_clocks(const WorldFacts& world) {
  const auto earlier = [](const RankFacts& a, const RankFacts& b) { return a.clock < b.clock; };
  const auto [low, high] = std::minmax_element(world.ranks.begin(), world.ranks.end(), earlier);
  const double apart = high->clock - low->clock;
  if (apart < kSlowClockSeconds) return {"clocks", Verdict::kFine, fmt::format("{:.3f} s apart", apart), ""};
  return {"clocks", Verdict::kSlow, fmt::format("{} is {:.1f} s behind {}", low->host, apart, high->host),
          "synchronise the nodes (chrony, ntpd); time stamps in logs and locks do not compare otherwise"};
}

Check check_run_folder(const WorldFacts& world) {
  for (const RankFacts& rank : world.ranks) {
    if (!rank.folder.problem.empty()) {
      return {"run folder", Verdict::kWrong,
              fmt::format("{} on {} {}", rank.folder.path, rank.host, rank.folder.problem),
              "choose another run.folder, or change its permissions"};
    }
  }
  for (const RankFacts& rank : world.ranks) {
    if (!rank.folder.sees_rank_zero) {
      return {"run folder", Verdict::kWrong,
              fmt::format("rank {} on {} does not see what rank 0 on {} writes to {}", rank.rank, rank.host,
                          world.ranks.front().host, rank.folder.path),
              "put run.folder on a file system that all nodes share"};
    }
  }
  const FolderFacts& folder = world.ranks.front().folder;
  const std::string found =
      fmt::format("{} ({}), {} free", folder.path, folder.file_system, format_bytes(folder.free_bytes));
  if (folder.free_bytes < world.free_bytes_needed) {
    return {"run folder", Verdict::kWrong, found,
            fmt::format("the configuration asks for {} free: free some space or choose another run.folder",
                        format_bytes(world.free_bytes_needed))};
  }
  return {"run folder", Verdict::kFine, found, ""};
}

Check check_disk(const WorldFacts& world) {
  DiskFacts worst;
  const RankFacts* where = nullptr;
  for (const RankFacts& rank : world.ranks) {
    if (rank.local_rank != 0 || rank.disk.commit_milliseconds == 0) continue;
    if (where == nullptr || rank.disk.write_mb_per_second < worst.write_mb_per_second) {
      worst = rank.disk;
      where = &rank;
    }
  }
  if (where == nullptr) return {"disk", Verdict::kWrong, "not measured", "make the run folder writable"};
  const std::string found = fmt::format("{:.0f} MB/s write, {:.0f} MB/s read, {:.1f} ms to commit a file",
                                        worst.write_mb_per_second, worst.read_mb_per_second, worst.commit_milliseconds);
  if (worst.write_mb_per_second < kSlowDiskMbPerSecond) {
    return {"disk", Verdict::kSlow, fmt::format("{} on {}", found, where->host),
            "shards, caches and checkpoints will wait for this disk; choose a faster run.folder"};
  }
  if (worst.commit_milliseconds > kSlowCommitMilliseconds) {
    return {"disk", Verdict::kSlow, fmt::format("{} on {}", found, where->host),
            "fsync is slow here; make checkpoints less frequent or choose another run.folder"};
  }
  return {"disk", Verdict::kFine, found, ""};
}

std::vector<Check> check_sources(const WorldFacts& world) {
  std::vector<Check> checks;
  for (size_t i = 0; i < world.ranks.front().sources.size(); ++i) {
    const SourceFacts& source = world.ranks.front().sources[i];
    Check check{"source " + source.name, Verdict::kFine, source.path, ""};
    for (const RankFacts& rank : world.ranks) {
      CSKD_CHECK(i < rank.sources.size(), "rank {} looked at {} sources", rank.rank, rank.sources.size());
      if (rank.sources[i].problem.empty()) continue;
      check.verdict = Verdict::kWrong;
      check.found = fmt::format("{} on {}: {}", source.path, rank.host, rank.sources[i].problem);
      check.remedy =
          fmt::format("correct the path of source {} in the configuration, or mount it on every node", source.name);
      break;
    }
    checks.push_back(check);
  }
  return checks;
}

}  // namespace

std::vector<Check> judge(const WorldFacts& world) {
  CSKD_CHECK(!world.ranks.empty(), "facts of no rank at all");
  std::vector<Check> checks{check_programs(world),   check_cores(world), check_compute(world), check_memory(world),
                            check_limits(world),     check_gpus(world),  check_mpi(world),     check_clocks(world),
                            check_run_folder(world), check_disk(world)};
  for (Check& check : check_sources(world)) checks.push_back(std::move(check));
  for (Check& check : check_environment(world)) checks.push_back(std::move(check));
  return checks;
}

Verdict overall(const std::vector<Check>& checks) {
  Verdict worst = Verdict::kFine;
  for (const Check& check : checks) worst = std::max(worst, check.verdict);
  return worst;
}

std::string to_string(Verdict verdict) {
  switch (verdict) {
    case Verdict::kFine:
      return "fine";
    case Verdict::kSlow:
      return "slow";
    case Verdict::kWrong:
      return "wrong";
  }
  CSKD_CHECK(false, "verdict {}", static_cast<int>(verdict));
}

std::string ranges(const std::vector<int>& numbers) {
  std::string text;
  for (size_t i = 0; i < numbers.size();) {
    size_t last = i;
    while (last + 1 < numbers.size() && numbers[last + 1] == numbers[last] + 1) ++last;
    text += fmt::format("{}{}", text.empty() ? "" : ", ", numbers[i]);
    if (last > i) text += fmt::format("-{}", numbers[last]);
    i = last + 1;
  }
  return text;
}

}  // namespace cskd::doctor

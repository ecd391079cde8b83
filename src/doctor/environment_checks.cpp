#include <algorithm>
#include <array>
#include <charconv>
#include <optional>

#include <fmt/format.h>

#include "doctor/checks.h"
#include "doctor/file_system.h"

namespace cskd::doctor {
namespace {

std::optional<std::string> value_of(const RankFacts& rank, const std::string& name) {
  const auto found = rank.environment.find(name);
  if (found == rank.environment.end()) return std::nullopt;
  return found->second;
}

void check_threads(const RankFacts& rank, Checks& checks) {
  for (const char* name : {"OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"}) {
    const auto value = value_of(rank, name);
    if (!value) continue;
    int threads = 0;
    const auto [end, status] = std::from_chars(value->data(), value->data() + value->size(), threads);
    Check check{name, Verdict::kFine, *value, ""};
    if (status != std::errc() || end != value->data() + value->size() || threads < 1) {
      check.verdict = Verdict::kWrong;
      check.remedy = "set it to a whole number from 1, or unset it";
    } else if (threads > static_cast<int>(rank.cores.size())) {
      check.verdict = Verdict::kSlow;
      check.found += fmt::format(", but a rank may use {}", counted(rank.cores.size(), "core"));
      check.remedy = "set it to the cores of a rank, or unset it";
    }
    checks.push_back(check);
  }
}

// Threads that are pinned by number are pinned to the same cores by all ranks that may use all of them.
void check_pinning(const WorldFacts& world, Checks& checks) {
  for (const Ranks& host : by_host(world)) {
    const RankFacts& first = *host.front();
    const bool is_unbound = host.size() > 1 && host[1]->cores == first.cores && first.cores.size() > 1;
    for (const char* name : {"OMP_PROC_BIND", "OMP_PLACES", "GOMP_CPU_AFFINITY", "KMP_AFFINITY"}) {
      const auto value = value_of(first, name);
      if (!value || !is_unbound || *value == "false" || *value == "FALSE" || *value == "disabled" || *value == "none")
        continue;
      checks.push_back(
          {name, Verdict::kSlow,
           fmt::format("'{}', while the {} ranks of {} may use the same cores", *value, host.size(), first.host),
           "unset it, or bind each rank to cores of its own: the ranks' threads share cores otherwise"});
      return;
    }
  }
}

void check_file_locking(const WorldFacts& world, Checks& checks) {
  const RankFacts& first = world.ranks.front();
  const auto value = value_of(first, "HDF5_USE_FILE_LOCKING");
  if (!value) return;
  const bool asks = *value == "TRUE" || *value == "1";
  if (asks && (is_network_file_system(first.folder.file_system) || first.shared.flock != "works")) {
    checks.push_back({"HDF5_USE_FILE_LOCKING", Verdict::kSlow,
                      fmt::format("{} on {}", *value, first.folder.file_system),
                      "unset it: HDF5's locks fail or hang on many network file systems, and cskd needs none"});
  } else {
    checks.push_back({"HDF5_USE_FILE_LOCKING", Verdict::kFine, *value, ""});
  }
}

void check_switches(const RankFacts& rank, Checks& checks) {
  struct Switch {
    const char* name;
    const char* slow_value;  // nullptr: any value
    const char* remedy;
  };
  constexpr std::array<Switch, 8> kSwitches{{
      {"CUDA_LAUNCH_BLOCKING", "1", "unset it: every kernel waits for the one before"},
      {"NCCL_P2P_DISABLE", "1", "unset it: GPUs of a node then exchange data through host memory"},
      {"NCCL_IB_DISABLE", "1", "unset it where the nodes have InfiniBand"},
      {"NCCL_SHM_DISABLE", "1", "unset it: ranks of a node then talk through the network"},
      {"NCCL_DEBUG", "TRACE", "set it to WARN"},
      {"CSKD_FAIL_AT", nullptr, "unset it: it makes the program fail on purpose, for tests"},
      {"LD_PRELOAD", nullptr, "make sure that this library belongs here"},
      {"OMPI_MCA_mpi_yield_when_idle", "0", "unset it when there are more ranks than cores"},
  }};
  for (const Switch& each : kSwitches) {
    const auto value = value_of(rank, each.name);
    if (!value) continue;
    const bool slow = each.slow_value == nullptr || *value == each.slow_value;
    checks.push_back({each.name, slow ? Verdict::kSlow : Verdict::kFine, *value, slow ? each.remedy : ""});
  }
}

Check check_equal_on_all_ranks(const WorldFacts& world) {
  const RankFacts& first = world.ranks.front();
  for (const RankFacts& rank : world.ranks) {
    for (const auto& [name, value] : rank.environment) {
      if (name.starts_with("SLURM_") || name == "CUDA_VISIBLE_DEVICES" || name == "TMPDIR")
        continue;  // differ from rank to rank by design
      const auto other = value_of(first, name);
      if (other == value) continue;
      return {"environment", Verdict::kSlow,
              fmt::format("{} is '{}' for rank {} on {}, but {} for rank 0", name, value, rank.rank, rank.host,
                          other ? "'" + *other + "'" : "not set"),
              "give every rank the same environment (mpirun -x NAME, srun --export=ALL)"};
    }
  }
  return {"environment", Verdict::kFine, "the same on every rank", ""};
}

}  // namespace

Checks check_environment(const WorldFacts& world) {
  Checks checks;
  const RankFacts& first = world.ranks.front();
  check_threads(first, checks);
  check_pinning(world, checks);
  check_file_locking(world, checks);
  check_switches(first, checks);
  checks.push_back(check_equal_on_all_ranks(world));
  return checks;
}

}  // namespace cskd::doctor

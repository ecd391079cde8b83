#include <algorithm>
#include <set>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "doctor/checks.h"
#include "runtime/free_space.h"

namespace cskd::doctor {
namespace {

using runtime::format_bytes;

Check check_numbers_of_gpus(const WorldFacts& world) {
  const auto most = majority(leaders(world), [](const RankFacts& rank) { return rank.accelerators.gpus.size(); });
  for (const Ranks& host : by_host(world)) {
    const RankFacts& leader = *host.front();
    const distributed::Accelerators& found = leader.accelerators;
    if (!found.problem.empty()) {
      return {"GPUs", Verdict::kWrong, fmt::format("{}: {}", leader.host, found.problem),
              "update the driver of that host, or set CUDA_VISIBLE_DEVICES= to train on processors"};
    }
    if (found.gpus.size() != most.value) {
      return {
          "GPUs", Verdict::kWrong,
          fmt::format("{} {} {}, the others {}", hosts_of(most.others), are_of_one_host(most.others) ? "sees" : "see",
                      counted(found.gpus.size(), "GPU"), most.value),
          "every host must offer the same number: look at --gpus-per-node and at nvidia-smi there, or leave it out"};
    }
    std::set<std::string> devices;
    for (const RankFacts* rank : host) {
      for (const distributed::Gpu& gpu : rank->accelerators.gpus) devices.insert(gpu.uuid);
    }
    if (!devices.empty() && host.size() > devices.size()) {
      return {"GPUs", Verdict::kWrong,
              fmt::format("{} ranks share {} GPUs of {}", host.size(), devices.size(), leader.host),
              "NCCL needs a GPU for each rank: start one rank a GPU"};
    }
    if (host.size() < devices.size()) {
      return {"GPUs", Verdict::kSlow,
              fmt::format("{} of {} GPUs of {} stay idle", devices.size() - host.size(), devices.size(), leader.host),
              "start one rank a GPU"};
    }
  }
  const distributed::Accelerators& first = world.ranks.front().accelerators;
  if (first.gpus.empty()) {
    const std::string why = world.ranks.front().gpu_health.problem;
    return {"GPUs", Verdict::kFine,
            first.cuda_build
                ? fmt::format("none{}; training runs on the processor cores", why.empty() ? "" : ": " + why)
                : "none, and this cskd is built without CUDA",
            ""};
  }
  const distributed::Gpu& gpu = first.gpus.front();
  return {"GPUs", Verdict::kFine,
          fmt::format("one {} ({}) for each rank, CUDA {}, NCCL {}", gpu.name, format_bytes(gpu.memory_total),
                      first.cuda_runtime, first.nccl),
          ""};
}

Check check_kinds_of_gpus(const WorldFacts& world) {
  const auto kind = [](const RankFacts& rank) {
    return rank.accelerators.gpus.empty() ? std::string() : rank.accelerators.gpus.front().name;
  };
  const auto most = majority(everyone(world), kind);
  const auto driver = majority(leaders(world), [](const RankFacts& rank) { return rank.gpu_health.driver; });
  if (!most.others.empty()) {
    return {"GPU kinds", Verdict::kSlow,
            fmt::format("{}: {}, elsewhere {}", hosts_of(most.others), kind(*most.others.front()), most.value),
            "GPUs of one kind (sbatch --constraint): the slowest sets the pace, and last bits differ"};
  }
  if (!driver.others.empty()) {
    return {"GPU kinds", Verdict::kSlow,
            fmt::format("{}: driver {}, elsewhere {}", hosts_of(driver.others),
                        driver.others.front()->gpu_health.driver, driver.value),
            "install the same driver on every host"};
  }
  return {"GPU kinds", Verdict::kFine, fmt::format("{}, driver {}", most.value, driver.value), ""};
}

// What is wrong with a GPU; the worst first.
struct Complaint {
  Verdict verdict = Verdict::kFine;
  std::string what;
  const char* remedy = "";
};

std::vector<Complaint> complaints(const GpuState& gpu) {
  constexpr const char* kLeaveOut =
      "leave that host out and have the GPU reset or replaced (nvidia-smi -q -d ECC,ROW_REMAPPER)";
  std::vector<Complaint> found;
  if (gpu.rows_failed) found.push_back({Verdict::kWrong, "memory rows that could not be replaced", kLeaveOut});
  if (gpu.uncorrected_errors > 0) {
    found.push_back({Verdict::kWrong, fmt::format("{} of memory", counted(gpu.uncorrected_errors, "uncorrected error")),
                     kLeaveOut});
  }
  if (gpu.compute_mode == "prohibited")
    found.push_back({Verdict::kWrong, "compute mode is prohibited", "nvidia-smi -c DEFAULT on that host"});
  if (!gpu.xid.empty())
    found.push_back({Verdict::kSlow, fmt::format("the kernel's log has Xid {}", gpu.xid),
                     "look the number up in NVIDIA's Xid list; reset the GPU or leave the host out"});
  if (gpu.rows_pending)
    found.push_back({Verdict::kSlow, "memory rows wait to be replaced", "reset that GPU (nvidia-smi -r)"});
  if (!gpu.throttling.empty())
    found.push_back({Verdict::kSlow, fmt::format("runs below its clock: {}", fmt::join(gpu.throttling, ", ")),
                     "look at cooling and power of that host, or leave it out: all GPUs wait for the slowest"});
  if (gpu.slowdown_temperature > 0 && gpu.temperature >= gpu.slowdown_temperature - 5)
    found.push_back({Verdict::kSlow,
                     fmt::format("{} degrees C, slows down at {}", gpu.temperature, gpu.slowdown_temperature),
                     "look at the cooling of that host, or leave it out"});
  if (gpu.other_processes > 0)
    found.push_back(
        {Verdict::kSlow,
         fmt::format("{} besides this job", counted(static_cast<std::size_t>(gpu.other_processes), "process")),
         "end them, or ask for the GPU alone (--exclusive): memory and time are shared with them"});
  if (gpu.link_width > 0 && gpu.link_width < gpu.link_width_possible)
    found.push_back({Verdict::kSlow, fmt::format("{} of {} lanes of PCIe", gpu.link_width, gpu.link_width_possible),
                     "the card may sit loosely: have it looked at"});
  if (!gpu.persistence)
    found.push_back(
        {Verdict::kSlow, "persistence mode is off", "nvidia-smi -pm 1: each start initialises the GPU otherwise"});
  std::stable_sort(found.begin(), found.end(),
                   [](const Complaint& a, const Complaint& b) { return a.verdict > b.verdict; });
  return found;
}

// One check for each kind of complaint, with all hosts that have it.
Checks check_health(const WorldFacts& world) {
  struct Group {
    Complaint complaint;
    Ranks ranks;
    std::string first;
  };
  std::vector<Group> groups;
  std::size_t healthy = 0;
  for (const RankFacts* rank : leaders(world)) {
    if (rank->gpu_health.gpus.empty() && rank->accelerators.gpus.empty()) continue;
    if (!rank->gpu_health.problem.empty()) {
      Complaint complaint{Verdict::kSlow, rank->gpu_health.problem, "look at nvidia-smi there"};
      groups.push_back({complaint, {rank}, rank->host});
    }
    for (std::size_t i = 0; i < rank->gpu_health.gpus.size(); ++i) {
      const GpuState& gpu = rank->gpu_health.gpus[i];
      const std::vector<Complaint> found = complaints(gpu);
      healthy += found.empty() ? 1 : 0;
      for (const Complaint& complaint : found) {
        const auto same = std::find_if(groups.begin(), groups.end(), [&](const Group& group) {
          return group.complaint.remedy == complaint.remedy && group.complaint.verdict == complaint.verdict;
        });
        if (same == groups.end()) {
          groups.push_back({complaint, {rank}, fmt::format("GPU {} of {}", i, rank->host)});
        } else {
          same->ranks.push_back(rank);
        }
      }
    }
  }
  Checks checks;
  for (const Group& group : groups) {
    const std::size_t more = group.ranks.size() - 1;
    checks.push_back(
        {"GPU health", group.complaint.verdict,
         fmt::format("{}: {}{}", group.first, group.complaint.what,
                     more == 0 ? "" : fmt::format(", and {} on {}", counted(more, "other"), hosts_of(group.ranks))),
         group.complaint.remedy});
  }
  if (checks.empty() && healthy > 0)
    checks.push_back({"GPU health", Verdict::kFine,
                      fmt::format("{}, none with errors, none throttled", counted(healthy, "GPU")), ""});
  return checks;
}

}  // namespace

Checks check_gpus(const WorldFacts& world) {
  Checks checks{check_numbers_of_gpus(world)};
  const bool has_gpus = std::any_of(world.ranks.begin(), world.ranks.end(),
                                    [](const RankFacts& rank) { return !rank.accelerators.gpus.empty(); });
  if (has_gpus) checks.push_back(check_kinds_of_gpus(world));
  for (Check& check : check_health(world)) checks.push_back(std::move(check));
  return checks;
}

}  // namespace cskd::doctor

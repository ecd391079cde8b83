#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "doctor/checks.h"
#include "doctor/file_system.h"
#include "runtime/check.h"
#include "runtime/free_space.h"

namespace cskd::doctor {
namespace {

using runtime::format_bytes;

constexpr double kSlowDiskMbPerSecond = 100;
constexpr double kSlowSharedDiskMbPerSecond = 20;  // of each of several hosts at once
constexpr double kSlowCommitMilliseconds = 200;
constexpr double kSlowToBeSeen = 1;  // seconds
constexpr std::uint64_t kFewInodes = 100'000;
constexpr std::uint64_t kHardlyAnyInodes = 1000;

const RankFacts* first_with(const Ranks& ranks, bool (*is)(const RankFacts&)) {
  const auto found = std::find_if(ranks.begin(), ranks.end(), [is](const RankFacts* rank) { return is(*rank); });
  return found == ranks.end() ? nullptr : *found;
}

Ranks all_with(const Ranks& ranks, bool (*is)(const RankFacts&)) {
  Ranks found;
  for (const RankFacts* rank : ranks) {
    if (is(*rank)) found.push_back(rank);
  }
  return found;
}

Check check_run_folder(const WorldFacts& world) {
  const Ranks hosts = leaders(world);
  const FolderFacts& folder = hosts.front()->folder;
  constexpr const char* kShare = "put run.folder on a file system that all hosts mount, or mount it there";
  const auto has_problem = [](const RankFacts& rank) { return !rank.folder.problem.empty(); };
  if (const Ranks troubled = all_with(hosts, has_problem); !troubled.empty()) {
    const FolderFacts& there = troubled.front()->folder;
    return {"run folder", Verdict::kWrong, fmt::format("{} on {} {}", there.path, hosts_of(troubled), there.problem),
            there.problem == "is not there" ? kShare : "choose another run.folder, or change its permissions"};
  }
  const auto blind = [](const RankFacts& rank) { return !rank.shared.sees_rank_zero; };
  if (const Ranks troubled = all_with(hosts, blind); !troubled.empty()) {
    const FolderFacts& there = troubled.front()->folder;
    return {"run folder", Verdict::kWrong,
            fmt::format("{} {} not see what rank 0 on {} writes to {} ({} there, {} on {})", hosts_of(troubled),
                        are_of_one_host(troubled) ? "does" : "do", hosts.front()->host, folder.path, there.file_system,
                        folder.file_system, hosts.front()->host),
            kShare};
  }
  const auto unseen = [](const RankFacts& rank) { return !rank.shared.seen_by_rank_zero; };
  if (const Ranks troubled = all_with(hosts, unseen); !troubled.empty()) {
    return {"run folder", Verdict::kWrong,
            fmt::format("rank 0 on {} does not see what {} {} to {}", hosts.front()->host, hosts_of(troubled),
                        are_of_one_host(troubled) ? "writes" : "write", folder.path),
            kShare};
  }
  const std::string found =
      fmt::format("{} ({}), {} free", folder.path, folder.file_system, format_bytes(folder.free_bytes));
  if (folder.free_bytes < world.free_bytes_needed) {
    return {"run folder", Verdict::kWrong, found,
            fmt::format("the configuration asks for {} free: free some space or choose another run.folder",
                        format_bytes(world.free_bytes_needed))};
  }
  if (folder.free_inodes < kFewInodes) {
    return {"run folder", folder.free_inodes < kHardlyAnyInodes ? Verdict::kWrong : Verdict::kSlow,
            fmt::format("{} ({}) has room for {} more files", folder.path, folder.file_system, folder.free_inodes),
            "remove files, or choose another run.folder"};
  }
  return {"run folder", Verdict::kFine, found, ""};
}

Checks check_sharing(const WorldFacts& world) {
  const Ranks hosts = leaders(world);
  const FolderFacts& folder = hosts.front()->folder;
  if (first_with(hosts,
                 [](const RankFacts& rank) { return !rank.folder.problem.empty() || !rank.shared.sees_rank_zero; }))
    return {};
  Checks checks;
  const auto later = [](const RankFacts* a, const RankFacts* b) {
    return a->shared.seen_after_seconds < b->shared.seen_after_seconds;
  };
  const RankFacts& last = **std::max_element(hosts.begin(), hosts.end(), later);
  if (last.shared.seen_after_seconds > kSlowToBeSeen) {
    checks.push_back(
        {"file system", Verdict::kSlow,
         fmt::format("{} saw a new file only {:.1f} s after it was there", last.host, last.shared.seen_after_seconds),
         "look at the mount options there (lookupcache, actimeo) and at the load of the file server"});
  }
  const auto stale = [](const RankFacts& rank) {
    return !rank.shared.sees_replacement || rank.shared.replaced_after_seconds > kSlowToBeSeen;
  };
  if (const Ranks troubled = all_with(hosts, stale); !troubled.empty()) {
    const SharedFacts& there = troubled.front()->shared;
    checks.push_back(
        {"file system", Verdict::kSlow,
         fmt::format("{} went on seeing the old contents of a file that was replaced, for {}{:.1f} s",
                     hosts_of(troubled), there.sees_replacement ? "" : "more than ", there.replaced_after_seconds),
         "results stay right, but starts wait; mount it with a short actimeo, and without nocto"});
  }
  const auto without_locks = [](const RankFacts& rank) { return rank.shared.flock != "works"; };
  if (const Ranks troubled = all_with(hosts, without_locks); !troubled.empty()) {
    const SharedFacts& there = troubled.front()->shared;
    checks.push_back(
        {"file system", Verdict::kSlow,
         there.flock == "only on one host"
             ? fmt::format("locks (flock) of {} do not reach other hosts on {}", folder.path,
                           troubled.front()->folder.file_system)
             : fmt::format("no locks (flock) on {} at {}: {}", folder.path, hosts_of(troubled), there.flock),
         "nothing breaks: after a kill, a start from another host waits up to a minute for signs of life; to "
         "spare that, mount it with locks (Lustre: -o flock, NFS: with its lock service)"});
  }
  if (folder.file_system == "tmpfs" || folder.file_system == "ramfs") {
    checks.push_back({"file system", Verdict::kSlow,
                      fmt::format("{} is in memory ({}): gone when {} restarts", folder.path, folder.file_system,
                                  hosts.front()->host),
                      "choose a run.folder on a disk"});
  }
  if (checks.empty()) {
    checks.push_back({"file system", Verdict::kFine,
                      hosts.size() == 1
                          ? fmt::format("{}, locks work", folder.file_system)
                          : fmt::format("{}, seen by all hosts within {:.2f} s, replacements within {:.2f} s; "
                                        "locks work",
                                        folder.file_system, last.shared.seen_after_seconds,
                                        (*std::max_element(hosts.begin(), hosts.end(),
                                                           [](const RankFacts* a, const RankFacts* b) {
                                                             return a->shared.replaced_after_seconds <
                                                                    b->shared.replaced_after_seconds;
                                                           }))
                                            ->shared.replaced_after_seconds),
                      ""});
  }
  return checks;
}

Check check_disk(const WorldFacts& world) {
  Ranks measured;
  for (const RankFacts* host : leaders(world)) {
    if (host->disk.commit_milliseconds > 0) measured.push_back(host);
  }
  if (measured.empty()) return {"disk", Verdict::kWrong, "not measured", "make the run folder writable"};
  const auto slower = [](const RankFacts* a, const RankFacts* b) {
    return a->disk.write_mb_per_second < b->disk.write_mb_per_second;
  };
  const RankFacts& where = **std::min_element(measured.begin(), measured.end(), slower);
  const DiskFacts& worst = where.disk;
  const std::string found = fmt::format("{:.0f} MB/s write, {:.0f} MB/s read, {:.1f} ms to commit a file",
                                        worst.write_mb_per_second, worst.read_mb_per_second, worst.commit_milliseconds);
  if (worst.write_mb_per_second < (measured.size() == 1 ? kSlowDiskMbPerSecond : kSlowSharedDiskMbPerSecond)) {
    return {"disk", Verdict::kSlow, fmt::format("{} on {}", found, where.host),
            "shards, caches and checkpoints will wait for this disk; choose a faster run.folder"};
  }
  std::vector<double> writes;
  for (const RankFacts* host : measured) writes.push_back(host->disk.write_mb_per_second);
  if (measured.size() > 2 && worst.write_mb_per_second < 0.2 * quantile(writes, 0.5)) {
    return {"disk", Verdict::kSlow,
            fmt::format("{}: {:.0f} MB/s write, elsewhere {:.0f}", where.host, worst.write_mb_per_second,
                        quantile(writes, 0.5)),
            "look at how that host mounts the run folder and at its way to the file server, or leave it out"};
  }
  const auto later = [](const RankFacts* a, const RankFacts* b) {
    return a->disk.commit_milliseconds < b->disk.commit_milliseconds;
  };
  const RankFacts& slowest = **std::max_element(measured.begin(), measured.end(), later);
  if (slowest.disk.commit_milliseconds > kSlowCommitMilliseconds) {
    return {"disk", Verdict::kSlow,
            fmt::format("{:.1f} ms to commit a file on {}", slowest.disk.commit_milliseconds, slowest.host),
            "fsync is slow here; make checkpoints less frequent or choose another run.folder"};
  }
  return {"disk", Verdict::kFine, measured.size() == 1 ? found : found + " on the slowest host, all at once", ""};
}

}  // namespace

Checks check_folder(const WorldFacts& world) {
  if (leaders(world).front()->folder.path.empty()) return {};
  Checks checks{check_run_folder(world)};
  for (Check& check : check_sharing(world)) checks.push_back(std::move(check));
  checks.push_back(check_disk(world));
  return checks;
}

Checks check_sources(const WorldFacts& world) {
  Checks checks;
  const Ranks hosts = leaders(world);
  for (std::size_t i = 0; i < hosts.front()->sources.size(); ++i) {
    const SourceFacts& source = hosts.front()->sources[i];
    Check check{"source " + source.name, Verdict::kFine, source.path, ""};
    Ranks troubled;
    for (const RankFacts* host : hosts) {
      if (i >= host->sources.size()) continue;  // it could not read the configuration, which is said elsewhere
      if (!host->sources[i].problem.empty()) troubled.push_back(host);
    }
    if (!troubled.empty()) {
      check.verdict = Verdict::kWrong;
      check.found = fmt::format("{} on {}: {}", source.path, hosts_of(troubled), troubled.front()->sources[i].problem);
      check.remedy =
          fmt::format("correct the path of source {} in the configuration, or mount it on every host", source.name);
    }
    checks.push_back(check);
  }
  return checks;
}

Checks check_stages(const WorldFacts& world) {
  const Ranks hosts = leaders(world);
  if (hosts.front()->configuration.empty()) return {};
  Checks checks;
  for (const std::string& weights : world.weights) checks.push_back({"weights", Verdict::kFine, weights, ""});
  if (world.impossible.empty())
    checks.push_back({"stages", Verdict::kFine, "all can be done as the configuration says", ""});
  for (const std::string& finding : world.impossible)
    checks.push_back({"stages", Verdict::kWrong, finding, "change the configuration: cskd run refuses it as it is"});
  return checks;
}

}  // namespace cskd::doctor

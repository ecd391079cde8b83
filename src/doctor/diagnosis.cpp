#include "doctor/diagnosis.h"

#include <algorithm>
#include <unordered_map>

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "distributed/all_reduce_check.h"
#include "doctor/disk_probe.h"
#include "doctor/link_probe.h"
#include "doctor/shared_probe.h"
#include "doctor/step_limit.h"
#include "doctor/versions.h"
#include "runtime/error.h"
#include "runtime/launch_check.h"

namespace cskd::doctor {
namespace {

constexpr std::chrono::seconds kForOthers{120};  // longer than a step: the rank that hangs speaks first
constexpr std::uint64_t kAllHostsWrite = std::uint64_t{1} << 30;
constexpr std::uint64_t kLeast = std::uint64_t{1} << 20;

// What is known of ranks that run different programs.
WorldFacts strangers(const std::vector<Identity>& identities) {
  WorldFacts world;
  std::unordered_map<std::string, int> nodes;
  for (std::size_t i = 0; i < identities.size(); ++i) {
    RankFacts rank;
    rank.rank = static_cast<int>(i);
    rank.host = identities[i].host;
    rank.node = nodes.emplace(rank.host, static_cast<int>(nodes.size())).first->second;
    rank.program_version = identities[i].program_version;
    rank.build = identities[i].build;
    world.ranks.push_back(std::move(rank));
  }
  return world;
}

// The run folder, as rank 0 names it, and what the configuration reads. Collective.
void look_at_files(const DiagnosisOptions& options, runtime::World& world, StepLimit& steps, RankFacts& mine) {
  const bool looks = world.local_rank() == 0;
  // Without a configuration there is no folder to look at.
  if (world.any(!options.configuration_problem.empty())) return;
  std::string folder;
  if (world.rank() == 0)
    steps.run(fmt::format("looking at {}", options.run_folder.native()),
              [&] { folder = existing_ancestor(options.run_folder).native(); });
  folder = world.broadcast(folder);
  mine.folder.path = folder;
  if (looks) steps.run(fmt::format("looking at {}", folder), [&] { mine.folder = look_at_folder(folder); });
  const auto patience = std::min<std::chrono::milliseconds>(std::chrono::seconds(10), options.longest_step / 4);
  mine.shared = probe_shared_folder(folder, world, steps, patience);
  if (!looks) return;
  if (mine.folder.problem.empty()) {
    const std::uint64_t share = kAllHostsWrite / static_cast<std::uint64_t>(world.nodes());
    steps.run(fmt::format("measuring the disk at {}", folder), [&] {
      try {
        mine.disk = measure_disk(folder, std::max(kLeast, std::min(options.disk_test_bytes, share)));
      } catch (const runtime::Error& error) {
        mine.folder.problem = fmt::format("cannot be written: {}", runtime::messages(error).back());
      }
    });
  }
  for (const SourceToCheck& source : options.sources) {
    steps.run(fmt::format("looking at source {} at {}", source.name, source.path.native()),
              [&] { mine.sources.push_back(look_at_source(source)); });
  }
}

}  // namespace

Diagnosis diagnose(const DiagnosisOptions& options, runtime::World& world) {
  const auto start = std::chrono::steady_clock::now();
  world.set_timeout(std::max<std::chrono::seconds>(kForOthers, 2 * options.longest_step));
  StepLimit steps(world, options.longest_step);
  const Identity self{world.host(), program_version(), program_build(), options.configuration};
  std::vector<Identity> identities;
  for (const std::string& text : world.all_gather(self.text())) identities.push_back(Identity::parse(text));

  Diagnosis diagnosis;
  diagnosis.world.launcher = runtime::launcher_name(runtime::process_environment());
  diagnosis.checks = judge(identities);
  if (!diagnosis.checks.empty()) {
    diagnosis.world.ranks = strangers(identities).ranks;
    diagnosis.verdict = overall(diagnosis.checks);
    return diagnosis;
  }

  spdlog::debug("looking at the machine of every rank");
  RankFacts mine = collect_rank_facts(world, steps);
  mine.configuration = options.configuration;
  mine.configuration_problem = options.configuration_problem;
  const bool same = std::all_of(identities.begin(), identities.end(),
                                [&](const Identity& each) { return each.configuration == self.configuration; });
  if (!same) mine.settings = options.settings;
  spdlog::debug("looking at the run folder and the sources");
  look_at_files(options, world, steps, mine);
  if (world.rank() == 0 && options.find_impossible)
    steps.run("looking at the stages", [&] { diagnosis.world.impossible = options.find_impossible(); });
  if (world.rank() == 0 && options.describe_weights)
    steps.run("looking at weights", [&] { diagnosis.world.weights = options.describe_weights(); });

  spdlog::debug("measuring the links between {} hosts", world.nodes());
  world.barrier();
  LinkProbe links = probe_links(world, hosts_of(world), world.local_rank() == 0 ? world.node() : -1);
  mine.clock = links.clock;
  mine.network.links = std::move(links.links);
  mine.network.segments = links.segments;
  spdlog::debug("measuring the exchange between {} ranks", world.size());
  steps.run("all-reduces over MPI", [&] { diagnosis.world.mpi = measure_mpi(world); });
  mine.all_reduce_problem = distributed::check_all_reduce(world, options.longest_step);

  diagnosis.world.free_bytes_needed = options.free_bytes_needed;
  const std::vector<std::string> all = world.all_gather(to_json_text(mine));
  std::string verdict;
  if (world.rank() == 0) {
    for (const std::string& text : all) diagnosis.world.ranks.push_back(rank_facts_from_json(text));
    diagnosis.checks = judge(diagnosis.world);
    verdict = fmt::format("{}", static_cast<int>(overall(diagnosis.checks)));
  }
  diagnosis.verdict = static_cast<Verdict>(world.broadcast(verdict).at(0) - '0');
  diagnosis.is_complete = true;
  diagnosis.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return diagnosis;
}

}  // namespace cskd::doctor

#include "doctor/diagnosis.h"

#include <algorithm>

#include <fcntl.h>
#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include "doctor/disk_probe.h"
#include "doctor/rank_facts_json.h"
#include "doctor/versions.h"
#include "runtime/error.h"
#include "runtime/free_space.h"
#include "runtime/launch_check.h"

namespace cskd::doctor {
namespace {

// Rank 0 makes a file in the run folder, every rank looks whether it is there. Collective.
bool sees_file_of_rank_zero(const FolderFacts& mine, runtime::World& world) {
  std::string path;
  if (world.rank() == 0 && mine.problem.empty()) {
    path = fmt::format("{}/.cskd-doctor-{}-shared", mine.path, ::getpid());
    const int file = ::open(path.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    if (file < 0) path.clear();
    if (file >= 0) ::close(file);
  }
  path = world.broadcast(path);
  const bool seen = !path.empty() && ::access(path.c_str(), F_OK) == 0;
  world.barrier();
  if (world.rank() == 0 && !path.empty()) ::unlink(path.c_str());
  return seen;
}

std::string colour_of(Verdict verdict) {
  switch (verdict) {
    case Verdict::kFine:
      return "\x1b[32m";
    case Verdict::kSlow:
      return "\x1b[33m";
    default:
      return "\x1b[1;31m";
  }
}

// The verdict, padded to `width` columns.
std::string painted(Verdict verdict, bool colours, int width) {
  const std::string word = fmt::format("{:<{}}", to_string(verdict), width);
  return colours ? colour_of(verdict) + word + "\x1b[0m" : word;
}

}  // namespace

Diagnosis diagnose(const DiagnosisOptions& options, runtime::World& world) {
  spdlog::debug("looking at the machine of every rank");
  RankFacts mine = collect_rank_facts(world);
  mine.folder = look_at_folder(options.run_folder);
  mine.folder.sees_rank_zero = sees_file_of_rank_zero(mine.folder, world);
  if (world.local_rank() == 0 && mine.folder.problem.empty()) {
    spdlog::debug("measuring the disk at {} with {}", mine.folder.path, runtime::format_bytes(options.disk_test_bytes));
    try {
      mine.disk = measure_disk(mine.folder.path, options.disk_test_bytes);
    } catch (const runtime::Error& error) {
      mine.folder.problem = fmt::format("cannot be written: {}", runtime::messages(error).back());
    }
  }
  for (const SourceToCheck& source : options.sources) {
    spdlog::debug("looking at source {} at {}", source.name, source.path.native());
    mine.sources.push_back(look_at_source(source));
  }

  Diagnosis diagnosis;
  diagnosis.world.launcher = runtime::launcher_name(runtime::process_environment());
  diagnosis.world.free_bytes_needed = options.free_bytes_needed;
  spdlog::debug("measuring the exchange between {} ranks", world.size());
  diagnosis.world.mpi = measure_mpi(world);
  for (const std::string& text : world.all_gather(to_json_text(mine))) {
    diagnosis.world.ranks.push_back(rank_facts_from_json(text));
  }
  diagnosis.checks = judge(diagnosis.world);
  return diagnosis;
}

std::string to_text(const Diagnosis& diagnosis, bool colours) {
  const std::vector<RankFacts>& ranks = diagnosis.world.ranks;
  const int nodes = ranks.back().node + 1;
  std::string text = fmt::format(
      "cskd {}: {} {} on {} {}, {}\n\n", program_version(), ranks.size(), ranks.size() == 1 ? "rank" : "ranks", nodes,
      nodes == 1 ? "node" : "nodes",
      diagnosis.world.launcher == "none" ? "started without a launcher" : "started by " + diagnosis.world.launcher);
  for (int node = 0; node < nodes; ++node) {
    std::vector<int> of_node;
    const RankFacts* first = nullptr;
    for (const RankFacts& rank : ranks) {
      if (rank.node != node) continue;
      if (first == nullptr) first = &rank;
      of_node.push_back(rank.rank);
    }
    if (first == nullptr) continue;
    text += fmt::format("  {}: {} {}, {} ({} cores), {} of {} memory available, {}\n", first->host,
                        of_node.size() == 1 ? "rank" : "ranks", ranges(of_node), first->cpu, first->cores_online,
                        runtime::format_bytes(first->memory_available), runtime::format_bytes(first->memory_total),
                        first->accelerators.gpus.empty() ? "no GPU"
                                                         : fmt::format("{} x {}", first->accelerators.gpus.size(),
                                                                       first->accelerators.gpus[0].name));
  }
  text += "\n";
  size_t name_width = 0;
  for (const Check& check : diagnosis.checks) name_width = std::max(name_width, check.name.size());
  for (const Check& check : diagnosis.checks) {
    text += fmt::format("  {}  {:<{}}  {}\n", painted(check.verdict, colours, 5), check.name, name_width, check.found);
    if (!check.remedy.empty()) text += fmt::format("  {:<{}}  -> {}\n", "", 7 + name_width, check.remedy);
  }
  const Verdict verdict = overall(diagnosis.checks);
  constexpr const char* kMeaning[] = {"nothing stands in the way", "it will work, more slowly than it could",
                                      "something will fail; see above"};
  return text + fmt::format("\nverdict: {} ({})", painted(verdict, colours, 0), kMeaning[static_cast<int>(verdict)]);
}

std::string to_json(const Diagnosis& diagnosis) {
  nlohmann::ordered_json root;
  root["verdict"] = to_string(overall(diagnosis.checks));
  root["launcher"] = diagnosis.world.launcher;
  root["world_size"] = diagnosis.world.ranks.size();
  root["nodes"] = diagnosis.world.ranks.back().node + 1;
  root["mpi"] = {{"latency_microseconds", diagnosis.world.mpi.latency_microseconds},
                 {"bus_gb_per_second", diagnosis.world.mpi.bus_gb_per_second}};
  root["checks"] = nlohmann::json::array();
  for (const Check& check : diagnosis.checks) {
    root["checks"].push_back({{"name", check.name},
                              {"verdict", to_string(check.verdict)},
                              {"found", check.found},
                              {"remedy", check.remedy}});
  }
  root["ranks"] = nlohmann::json(diagnosis.world.ranks);
  return root.dump(2, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace cskd::doctor

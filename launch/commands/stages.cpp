#include <algorithm>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>
#include <spdlog/spdlog.h>

#include "config/references.h"
#include "launch/commands/commands.h"
#include "launch/config_arguments.h"
#include "launch/graph_run.h"
#include "launch/run_arguments.h"
#include "launch/run_summary.h"
#include "launch/stage_runner.h"
#include "runtime/atomic_file.h"
#include "runtime/error.h"
#include "runtime/spelling.h"
#include "runtime/stop_signal.h"
#include "runtime/terminal.h"
#include "stages/graph.h"
#include "stages/stage_table.h"

namespace cskd::launch {
namespace {

struct KindArguments {
  RunArguments run;
  std::vector<std::string> names;
};

std::unique_ptr<StageRunner> make_runner(const RunArguments& arguments, const Program& program, runtime::World& world) {
  return std::make_unique<StageRunner>(load_run(arguments.config.path, arguments.config.overrides),
                                       runner_options(arguments), program, world);
}

nlohmann::ordered_json json_of(const stages::Stage& stage, const run::StageOutcome& outcome,
                               const run::RunFolder& folder) {
  const run::Completion& done = outcome.completion;
  nlohmann::ordered_json document{
      {"stage", stage.id()},     {"finished", outcome.finished}, {"done_before", outcome.done_before},
      {"seconds", done.seconds}, {"images", done.images},        {"facts", nlohmann::ordered_json::parse(done.facts)}};
  if (outcome.finished && stage.entry->result_json != nullptr)
    document["result"] = nlohmann::ordered_json::parse(stage.entry->result_json(folder));
  return document;
}

// The stages of a kind that the names stand for; all without names.
std::vector<stages::Stage> named_stages(const config::Config& config, const stages::StageEntry& entry,
                                        const std::vector<std::string>& names) {
  std::vector<stages::Stage> of_kind = stages::graph(config);
  std::erase_if(of_kind, [&](const stages::Stage& stage) { return stage.entry != &entry; });
  if (!of_kind.empty()) {
    std::vector<std::string> known;
    for (const stages::Stage& stage : of_kind) known.push_back(stage.name);
    for (const std::string& name : names) {
      if (std::ranges::find(known, name) != known.end()) continue;
      const std::string near = runtime::nearest(name, known);
      throw runtime::UsageError(fmt::format("there is no [{}.{}]{}", entry.list, name,
                                            near.empty() ? fmt::format("; there is {}", fmt::join(known, ", "))
                                                         : fmt::format(", did you mean '{}'?", near)));
    }
    std::erase_if(of_kind, [&](const stages::Stage& stage) {
      return !names.empty() && std::ranges::find(names, stage.name) == names.end();
    });
    return of_kind;
  }
  if (entry.list == nullptr)
    throw runtime::UsageError(fmt::format("there is nothing to {}: the configuration trains no model", entry.kind));
  const bool are_there = !config::tables_in(config, entry.list).empty();
  throw runtime::UsageError(
      are_there ? fmt::format("there is nothing to {0}: [{1}.NAME] only start trainings", entry.kind, entry.list)
                : fmt::format("there is nothing to {0}: the configuration has no [{1}.NAME]", entry.kind, entry.list));
}

// Runs the stages of a kind, one after the other.
runtime::ExitCode run_kind(const stages::StageEntry& entry, const KindArguments& kind_arguments, const Program& program,
                           runtime::World& world) {
  const RunArguments& arguments = kind_arguments.run;
  const runtime::StopSignal stop(deadline_of(arguments));
  runtime::outlive_pipes();
  const std::unique_ptr<StageRunner> runner = make_runner(arguments, program, world);
  const std::vector<stages::Stage> stages = named_stages(runner->config(), entry, kind_arguments.names);
  runner->require_possible(stages);
  runner->require_needs(stages);
  nlohmann::ordered_json documents = nlohmann::ordered_json::array();
  bool finished = true;
  for (const stages::Stage& stage : stages) {
    const bool is_last = &stage == &stages.back();
    const run::StageOutcome outcome = runner->run(stage, StageRunner::Reason::kAsked, !is_last);
    finished = outcome.finished && (is_last || !world.any(runtime::StopSignal::received() != 0));
    if (world.rank() == 0) {
      documents.push_back(json_of(stage, outcome, runner->folder()));
      if (!arguments.json && outcome.finished && entry.result != nullptr)
        show("\n" + entry.result(runner->folder(), outcome.completion));
    }
    if (!finished) break;
  }
  // Of what there is one of, its result; otherwise those of all.
  if (world.rank() == 0 && arguments.json) show((entry.list == nullptr ? documents.front() : documents).dump(2) + "\n");
  return finished ? runtime::ExitCode::kDone : runtime::ExitCode::kRequeue;
}

void add_stage(Program& program, const stages::StageEntry& entry) {
  const bool is_named = entry.list != nullptr;
  std::string examples =
      fmt::format("  cskd {0} configs/demo.toml\n  mpirun -n 2 cskd {0} configs/demo.toml\n", entry.kind);
  if (is_named)
    examples += fmt::format("  cskd {0} big.toml {1}          # one of several\n", entry.kind, entry.example);
  examples += fmt::format("  srun --mpi=pmix -N 4 --ntasks-per-node 8 cskd {0} big.toml", entry.kind);
  CLI::App& command = program.add_command(entry.kind, entry.description, examples);
  const auto arguments = std::make_shared<KindArguments>();
  add_run_arguments(command, arguments->run);
  if (is_named) {
    command.add_option("NAME", arguments->names, fmt::format("Names, from [{}.NAME]; all by default", entry.list));
  }
  program.run_in_world(command, [arguments, &entry, &program](runtime::World& world) {
    return run_kind(entry, *arguments, program, world);
  });
}

runtime::ExitCode run_all(const RunArguments& arguments, const Program& program, runtime::World& world) {
  const runtime::StopSignal stop(deadline_of(arguments));
  runtime::outlive_pipes();
  const std::unique_ptr<StageRunner> runner = make_runner(arguments, program, world);
  if (world.rank() == 0 && runner->config().sweep().over_size() > 0)
    spdlog::info("[sweep] is ignored: 'cskd sweep' runs its members");
  const std::optional<RunSummary> summary = run_graph(*runner, world);
  if (!summary) return runtime::ExitCode::kRequeue;
  if (world.rank() == 0) {
    const std::filesystem::path path = runner->folder().root / "summary.json";
    runtime::write_file_atomically(path, to_json(*summary));
    show(arguments.json ? to_json(*summary) : fmt::format("{}\n  {}\n", to_text(*summary), path.native()));
  }
  return runtime::ExitCode::kDone;
}

}  // namespace

void add_stages(Program& program) {
  for (const stages::StageEntry& entry : stages::stage_table()) add_stage(program, entry);
}

void add_run(Program& program) {
  CLI::App& command = program.add_command("run", "Run all stages of the graph in order, skipping what is complete",
                                          "  cskd run configs/demo.toml\n  mpirun -n 2 cskd run configs/demo.toml\n"
                                          "  srun --mpi=pmix -N 4 --ntasks-per-node 8 cskd run big.toml");
  const auto arguments = std::make_shared<RunArguments>();
  add_run_arguments(command, *arguments);
  program.run_in_world(command,
                       [arguments, &program](runtime::World& world) { return run_all(*arguments, program, world); });
}

}  // namespace cskd::launch

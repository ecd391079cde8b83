#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "config/reader.h"
#include "evaluation/evaluate.h"
#include "evaluation/results.h"
#include "launch/commands/commands.h"
#include "launch/config_arguments.h"
#include "launch/deadline.h"
#include "launch/run_summary.h"
#include "launch/stage_runner.h"
#include "runtime/atomic_file.h"
#include "runtime/stop_signal.h"
#include "runtime/terminal.h"
#include "stages/stage_table.h"

namespace cskd::launch {
namespace {

struct StageArguments {
  ConfigArguments config;
  std::string resume = "auto";
  std::vector<std::string> allowed_changes;
  std::string stop_before;
  bool json = false;
};

void add_arguments(CLI::App& command, StageArguments& arguments) {
  add_config_arguments(command, "Configuration of the run", arguments.config);
  command.get_option("CONFIG")->required();
  command
      .add_option("--resume", arguments.resume,
                  "auto: go on from the newest whole checkpoint; never: refuse a folder that has any")
      ->check(CLI::IsMember({"auto", "never"}))
      ->capture_default_str();
  command
      .add_option("--allow-change", arguments.allowed_changes,
                  "Go on although this setting is another than that of the checkpoint or result; once for each")
      ->type_name("NAME")
      ->take_all();
  command
      .add_option("--stop-before", arguments.stop_before,
                  "Stop at a checkpoint, with exit code 75, before this: 3h50m from now on, 2026-12-01T18:00, or slurm "
                  "(the end of the job)")
      ->type_name("TIME");
  command.add_flag("--json", arguments.json, "Print the result as JSON");
}

std::optional<runtime::StopSignal::Clock::time_point> deadline_of(const StageArguments& arguments) {
  if (arguments.stop_before.empty()) return std::nullopt;
  const char* slurm_end = std::getenv("SLURM_JOB_END_TIME");
  const auto now = std::chrono::system_clock::now();
  const auto deadline = parse_deadline(arguments.stop_before, now,
                                       slurm_end == nullptr ? std::nullopt : std::optional<std::string>(slurm_end));
  // From here on the steady clock counts: the other may be set.
  return runtime::StopSignal::Clock::now() +
         std::chrono::duration_cast<runtime::StopSignal::Clock::duration>(deadline - now);
}

std::unique_ptr<StageRunner> make_runner(const StageArguments& arguments, const Program& program,
                                         runtime::World& world) {
  return std::make_unique<StageRunner>(
      config::load_config(arguments.config.path, arguments.config.overrides),
      StageRunner::Options{.resume = arguments.resume == "auto",
                           .allowed_changes = {arguments.allowed_changes.begin(), arguments.allowed_changes.end()}},
      program, world);
}

// Where nobody looks on any more it is not lost: the run folder holds it.
void show(const std::string& text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

// Of a stage that was asked for alone.
void show_result(const stages::StageEntry& entry, const run::StageOutcome& outcome, const run::RunFolder& folder,
                 bool as_json) {
  const run::Completion& done = outcome.completion;
  if (!as_json) {
    if (outcome.finished && entry.result != nullptr) show("\n" + entry.result(folder, done));
    return;
  }
  nlohmann::ordered_json document{
      {"stage", entry.name},     {"finished", outcome.finished}, {"done_before", outcome.done_before},
      {"seconds", done.seconds}, {"images", done.images},        {"facts", nlohmann::ordered_json::parse(done.facts)}};
  if (outcome.finished && entry.result_json != nullptr)
    document["result"] = nlohmann::ordered_json::parse(entry.result_json(folder));
  show(document.dump(2) + "\n");
}

void add_stage(Program& program, const std::string& stage, const std::string& description) {
  CLI::App& command =
      program.add_command(stage, description,
                          fmt::format("  cskd {0} configs/demo.toml\n  mpirun -n 2 cskd {0} configs/demo.toml\n"
                                      "  srun --mpi=pmix -N 4 --ntasks-per-node 8 cskd {0} big.toml",
                                      stage));
  const auto arguments = std::make_shared<StageArguments>();
  add_arguments(command, *arguments);
  program.run_in_world(command, [arguments, stage, &program](runtime::World& world) {
    const runtime::StopSignal stop(deadline_of(*arguments));
    runtime::outlive_pipes();
    const std::unique_ptr<StageRunner> runner = make_runner(*arguments, program, world);
    runner->require_possible({stage});
    const run::StageOutcome outcome = runner->run(stage, true);
    if (world.rank() == 0) {
      const run::RunFolder folder{runner->config().run().folder()};
      show_result(stages::stage_entry(stage), outcome, folder, arguments->json);
    }
    return outcome.finished ? runtime::ExitCode::kDone : runtime::ExitCode::kRequeue;
  });
}

runtime::ExitCode run_all(const StageArguments& arguments, const Program& program, runtime::World& world) {
  const runtime::StopSignal stop(deadline_of(arguments));
  runtime::outlive_pipes();
  const std::unique_ptr<StageRunner> runner = make_runner(arguments, program, world);
  RunSummary summary;
  runner->require_possible(stages::stage_names());
  for (const stages::StageEntry& entry : stages::stage_table()) {
    const run::StageOutcome outcome = runner->run(entry.name, false);
    if (entry.makes_corpus && outcome.finished) runner->require_possible(stages::stage_names());
    if (!outcome.finished) return runtime::ExitCode::kRequeue;
    const run::Completion& completion = outcome.completion;
    summary.stages.push_back(
        {entry.name, completion.seconds,
         completion.seconds > 0 ? static_cast<double>(completion.images) / completion.seconds : 0});
    if (entry.makes_corpus) summary.corpus = completion.facts;
    if (world.any(runtime::StopSignal::received() != 0)) return runtime::ExitCode::kRequeue;
  }
  if (world.rank() == 0) {
    summary.results =
        evaluation::read_results(evaluation::results_folder(run::RunFolder{runner->config().run().folder()}));
    const std::filesystem::path path = std::filesystem::path(runner->config().run().folder()) / "summary.json";
    runtime::write_file_atomically(path, to_json(summary));
    show(arguments.json ? to_json(summary) : fmt::format("{}\n  {}\n", to_text(summary), path.native()));
  }
  return runtime::ExitCode::kDone;
}

}  // namespace

void add_stages(Program& program) {
  for (const stages::StageEntry& entry : stages::stage_table()) add_stage(program, entry.name, entry.description);
}

void add_run(Program& program) {
  CLI::App& command = program.add_command("run", "Run all stages in order, skipping what is complete",
                                          "  cskd run configs/demo.toml\n  mpirun -n 2 cskd run configs/demo.toml\n"
                                          "  srun --mpi=pmix -N 4 --ntasks-per-node 8 cskd run big.toml");
  const auto arguments = std::make_shared<StageArguments>();
  add_arguments(command, *arguments);
  program.run_in_world(command,
                       [arguments, &program](runtime::World& world) { return run_all(*arguments, program, world); });
}

}  // namespace cskd::launch

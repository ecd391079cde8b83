#include "analysis/analyze.h"

#include <memory>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "launch/commands/commands.h"
#include "launch/config_arguments.h"
#include "launch/run_arguments.h"
#include "launch/stage_runner.h"
#include "runtime/stop_signal.h"
#include "runtime/terminal.h"

namespace cskd::launch {
namespace {

struct AnalyzeArguments {
  ConfigArguments config;
  std::vector<std::string> names;
  bool json = false;
};

runtime::ExitCode run_analyze(const AnalyzeArguments& arguments, const Program& program, runtime::World& world) {
  const runtime::StopSignal stop;
  runtime::outlive_pipes();
  const StageRunner runner(load_run(arguments.config.path, arguments.config.overrides), {}, program, world);
  const run::StageOutcome outcome = analysis::run_analyze(runner.context(), arguments.names);
  if (world.rank() != 0) return runtime::ExitCode::kDone;
  if (outcome.done_before) {
    spdlog::info("this analysis is complete already");
  } else {
    spdlog::info("the analysis took {:.1f} s", outcome.completion.seconds);
  }
  const run::RunFolder& folder = runner.folder();
  show(arguments.json ? analysis::analysis_json(folder)
                      : fmt::format("\n{}\n  {}\n", analysis::analysis_table(folder),
                                    (analysis::analysis_folder(folder) / "analysis.html").native()));
  return runtime::ExitCode::kDone;
}

}  // namespace

void add_analyze(Program& program) {
  CLI::App& command = program.add_command(
      "analyze", "Measure attention, collapse and frozen features of towers, encoders and trained models",
      "  cskd analyze configs/demo.toml\n"
      "  cskd analyze configs/demo.toml towers.clip encoders.mobile align.student    # before and after alignment\n"
      "  cskd analyze configs/demo.toml --set analyze.probe_on_test=true\n"
      "  mpirun -n 2 cskd analyze configs/demo.toml --json");
  const auto arguments = std::make_shared<AnalyzeArguments>();
  add_config_arguments(command, "Configuration of the run", arguments->config);
  command.get_option("CONFIG")->required();
  command.add_option("NAME", arguments->names,
                     "Models: towers.NAME, encoders.NAME (as they start), align.NAME, finetune.NAME, distill.NAME; by "
                     "default all that are there");
  command.add_flag("--json", arguments->json, "Print the result as JSON");
  program.run_in_world(
      command, [arguments, &program](runtime::World& world) { return run_analyze(*arguments, program, world); });
}

}  // namespace cskd::launch

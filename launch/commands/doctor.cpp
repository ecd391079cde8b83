#include <chrono>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <memory>
#include <string>
#include <vector>

#include "config/toml_writer.h"
#include "doctor/diagnosis.h"
#include "doctor/report.h"
#include "launch/commands/commands.h"
#include "launch/config_arguments.h"
#include "runtime/content_hash.h"
#include "runtime/error.h"
#include "runtime/terminal.h"
#include "stages/feasibility.h"
#include "stages/graph.h"

namespace cskd::launch {
namespace {

struct DoctorArguments {
  ConfigArguments config;
  std::string run_folder;
  std::vector<std::string> stages;
  bool json = false;
  bool all = false;
  bool strict = false;
  int step_limit = 60;
};

void use_config(const config::Config& config, const std::vector<std::string>& stages, const Program& program,
                const runtime::World& world, doctor::DiagnosisOptions& options) {
  program.use_log_level(config::Logging::Level_Name(config.logging().level()), world);
  options.run_folder = config.run().folder();
  options.free_bytes_needed = static_cast<std::uint64_t>(config.run().min_free() * 0x1.0p30);
  for (const config::Source& source : config.sources()) {
    options.sources.push_back({source.name(), config::Source::Kind_Name(source.kind()), source.path()});
  }
  for (const auto& [key, value] : config::settings_of(config, "")) options.settings.emplace(key, value);
  options.configuration = runtime::content_hash(config::to_toml(config)).hex();
  options.describe_weights = [config, chosen = stages::chosen(stages::graph(config), stages)] {
    return stages::describe_weights(config, chosen);
  };
  options.find_impossible = [config, chosen = stages::chosen(stages::graph(config), stages), ranks = world.size()] {
    try {
      return stages::find_impossible(config, chosen, ranks, {.root = config.run().folder(), .elsewhere = {}});
    } catch (const runtime::DataError& error) {
      return std::vector<std::string>{runtime::messages(error).back()};
    }
  };
}

doctor::DiagnosisOptions options_from(const DoctorArguments& arguments, const Program& program, runtime::World& world) {
  doctor::DiagnosisOptions options;
  if (!arguments.config.path.empty()) {
    std::exception_ptr failure;
    try {
      use_config(load_run(arguments.config.path, arguments.config.overrides), arguments.stages, program, world,
                 options);
    } catch (const runtime::UsageError& error) {
      failure = std::current_exception();
      options.configuration_problem = runtime::messages(error).back();
    }
    // Where nobody can read it, it is wrong; where some can, those that cannot are.
    if (!world.any(failure == nullptr)) std::rethrow_exception(failure);
  } else if (!arguments.config.overrides.empty()) {
    throw runtime::UsageError("--set changes keys of a configuration: name one, or use --run-folder");
  }
  if (!arguments.run_folder.empty()) options.run_folder = arguments.run_folder;
  return options;
}

}  // namespace

void add_doctor(Program& program) {
  CLI::App& command =
      program.add_command("doctor", "Check hosts, ranks, GPUs, networks, disks and sources: go or no-go",
                          "  cskd doctor\n"
                          "  mpirun -n 2 cskd doctor configs/demo.toml\n"
                          "  cskd doctor photos.toml --stage shard\n"
                          "  srun --mpi=pmix cskd doctor big.toml && srun --mpi=pmix cskd run big.toml\n"
                          "  srun --mpi=pmix -N 4 --ntasks-per-node 8 cskd doctor big.toml --json > doctor.json");
  const auto arguments = std::make_shared<DoctorArguments>();
  add_config_arguments(command, "Configuration whose run folder and sources are checked", arguments->config);
  command.add_option("--run-folder", arguments->run_folder,
                     "Folder to measure instead of the configuration's, or of .");
  command
      .add_option("--stage", arguments->stages,
                  "Only what these stages need: a kind (align) or one (align.student); all by default")
      ->type_name("STAGE");
  command.add_flag("--json", arguments->json, "Print JSON, with all that was gathered from every rank");
  command.add_flag("--all", arguments->all, "Also print what is fine, with its figures");
  command.add_flag("--strict", arguments->strict, "Treat what is slow as a no-go, too");
  command
      .add_option("--step-limit", arguments->step_limit,
                  "Seconds after which a hanging host is named and ends the check")
      ->check(CLI::Range(1, 3600))
      ->capture_default_str();
  const auto action = [arguments, &program](runtime::World& world) {
    doctor::DiagnosisOptions options = options_from(*arguments, program, world);
    options.longest_step = std::chrono::seconds(arguments->step_limit);
    const doctor::Diagnosis diagnosis = doctor::diagnose(options, world);
    if (world.rank() == 0) {
      const doctor::TextOptions text{.colours = runtime::wants_colours(runtime::Stream::kOutput),
                                     .all = arguments->all};
      std::puts((arguments->json ? to_json(diagnosis) : to_text(diagnosis, text)).c_str());
    }
    const doctor::Verdict worst_allowed = arguments->strict ? doctor::Verdict::kFine : doctor::Verdict::kSlow;
    return diagnosis.verdict > worst_allowed ? runtime::ExitCode::kFailure : runtime::ExitCode::kDone;
  };
  program.run_in_world(command, action, /*may_be_alone=*/true);
}

}  // namespace cskd::launch

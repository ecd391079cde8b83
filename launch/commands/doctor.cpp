#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>

#include "config/reader.h"
#include "doctor/diagnosis.h"
#include "launch/commands/commands.h"
#include "launch/config_arguments.h"
#include "runtime/terminal.h"

namespace cskd::launch {
namespace {

struct DoctorArguments {
  ConfigArguments config;
  std::string run_folder;
  bool json = false;
};

doctor::DiagnosisOptions options_from(const DoctorArguments& arguments, const Program& program,
                                      const runtime::World& world) {
  doctor::DiagnosisOptions options;
  if (!arguments.config.path.empty()) {
    const config::Config config = config::load_config(arguments.config.path, arguments.config.overrides);
    program.use_log_level(config::Logging::Level_Name(config.logging().level()), world);
    options.run_folder = config.run().folder();
    options.free_bytes_needed = static_cast<std::uint64_t>(config.run().min_free() * 0x1.0p30);
    for (const config::Source& source : config.sources()) {
      options.sources.push_back({source.name(), config::Source::Kind_Name(source.kind()), source.path()});
    }
  } else if (!arguments.config.overrides.empty()) {
    throw runtime::UsageError("--set changes keys of a configuration: name one, or use --run-folder");
  }
  if (!arguments.run_folder.empty()) options.run_folder = arguments.run_folder;
  return options;
}

}  // namespace

void add_doctor(Program& program) {
  CLI::App& command =
      program.add_command("doctor", "Look at hosts, ranks, GPUs, MPI, disks and sources: say what is slow or wrong",
                          "  cskd doctor\n"
                          "  mpirun -n 2 cskd doctor configs/demo.toml\n"
                          "  srun --mpi=pmix -N 4 --ntasks-per-node 8 cskd doctor big.toml --json > doctor.json");
  const auto arguments = std::make_shared<DoctorArguments>();
  add_config_arguments(command, "Configuration whose run folder and sources are looked at", arguments->config);
  command.add_option("--run-folder", arguments->run_folder,
                     "Folder to measure instead of the configuration's, or of .");
  command.add_flag("--json", arguments->json, "Print JSON, with all that was gathered from every rank");
  program.run_in_world(command, [arguments, &program](runtime::World& world) {
    const doctor::DiagnosisOptions options = options_from(*arguments, program, world);
    const doctor::Diagnosis diagnosis = doctor::diagnose(options, world);
    if (world.rank() == 0) {
      std::puts(
          (arguments->json ? to_json(diagnosis) : to_text(diagnosis, runtime::wants_colours(runtime::Stream::kOutput)))
              .c_str());
    }
    const bool wrong = overall(diagnosis.checks) == doctor::Verdict::kWrong;
    return wrong ? runtime::ExitCode::kFailure : runtime::ExitCode::kDone;
  });
}

}  // namespace cskd::launch

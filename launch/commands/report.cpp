#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <ATen/Parallel.h>
#include <fmt/format.h>

#include "doctor/versions.h"
#include "launch/commands/commands.h"
#include "launch/config_arguments.h"
#include "launch/run_arguments.h"
#include "run_report/page.h"
#include "runtime/atomic_file.h"
#include "runtime/cores.h"

namespace cskd::launch {
namespace {

struct ReportArguments {
  std::vector<std::string> paths;
  std::string output;
  std::size_t pictures = 8;
  bool quick = false;
};

runtime::ExitCode write_report(const ReportArguments& arguments) {
  at::set_num_threads(static_cast<int>(runtime::usable_cores().size()));
  std::vector<std::filesystem::path> folders;
  for (const std::string& path : arguments.paths) folders.emplace_back(run_folder_of(path));
  run_report::Records records = run_report::read_records(folders);
  const std::filesystem::path file = arguments.output.empty() ? records.runs.front().folder.root / "report.html"
                                                              : std::filesystem::path(arguments.output);
  const std::string page = run_report::to_page(
      records,
      {.pictures = arguments.pictures, .measures_latency = !arguments.quick, .version = doctor::program_version()});
  runtime::write_file_atomically(file, page);
  show(file.native() + "\n");
  return runtime::ExitCode::kDone;
}

}  // namespace

void add_report(Program& program) {
  CLI::App& command =
      program.add_command("report", "Write a page about runs and sweeps: results, curves, costs, warnings",
                          "  cskd report runs/demo\n"
                          "  cskd report configs/demo.toml --output demo.html\n"
                          "  cskd report runs/first runs/second --output both.html    # side by side");
  const auto arguments = std::make_shared<ReportArguments>();
  command.add_option("RUN", arguments->paths, "Run folders, folders of sweeps, or configurations")->required();
  command.add_option("--output", arguments->output, "The page; by default report.html in the first run folder")
      ->type_name("FILE");
  command.add_option("--pictures", arguments->pictures, "Test pictures to show: so many best, worst, most wrong")
      ->check(CLI::Range(0, 200))
      ->capture_default_str();
  command.add_flag("--quick", arguments->quick, "Do not measure the latency of the models");
  program.run_alone(command, [arguments] { return write_report(*arguments); });
}

}  // namespace cskd::launch

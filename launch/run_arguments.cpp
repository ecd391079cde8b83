#include "launch/run_arguments.h"

#include <chrono>
#include <cstdio>
#include <cstdlib>

#include "launch/deadline.h"

namespace cskd::launch {

void add_run_arguments(CLI::App& command, RunArguments& arguments) {
  add_config_arguments(command, "Configuration of the run", arguments.config);
  command.get_option("CONFIG")->required();
  command
      .add_option("--resume", arguments.resume,
                  "auto: resume from the newest intact checkpoint; never: refuse a folder with checkpoints")
      ->check(CLI::IsMember({"auto", "never"}))
      ->capture_default_str();
  command
      .add_option("--allow-change", arguments.allowed_changes,
                  "Go on although this setting differs from that of the checkpoint or result; may be repeated")
      ->type_name("NAME")
      ->take_all();
  command
      .add_option("--stop-before", arguments.stop_before,
                  "Stop at a checkpoint, with exit code 75, before this: 3h50m from now on, 2026-12-01T18:00, or slurm "
                  "(the end of the job)")
      ->type_name("TIME");
  command.add_flag("--json", arguments.json, "Print the result as JSON");
}

std::optional<runtime::StopSignal::Clock::time_point> deadline_of(const RunArguments& arguments) {
  if (arguments.stop_before.empty()) return std::nullopt;
  const char* slurm_end = std::getenv("SLURM_JOB_END_TIME");
  const auto now = std::chrono::system_clock::now();
  const auto deadline = parse_deadline(arguments.stop_before, now,
                                       slurm_end == nullptr ? std::nullopt : std::optional<std::string>(slurm_end));
  // From here on the steady clock counts: the other may be set.
  return runtime::StopSignal::Clock::now() +
         std::chrono::duration_cast<runtime::StopSignal::Clock::duration>(deadline - now);
}

StageRunner::Options runner_options(const RunArguments& arguments) {
  return {.resume = arguments.resume == "auto",
          .allowed_changes = {arguments.allowed_changes.begin(), arguments.allowed_changes.end()},
          .member = ""};
}

void show(const std::string& text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

}  // namespace cskd::launch

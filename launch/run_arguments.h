// The arguments of all commands that run stages, and their output.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "launch/config_arguments.h"
#include "launch/stage_runner.h"
#include "runtime/stop_signal.h"

namespace cskd::launch {

struct RunArguments {
  ConfigArguments config;
  std::string resume = "auto";
  std::vector<std::string> allowed_changes;
  std::string stop_before;
  bool json = false;
};

void add_run_arguments(CLI::App& command, RunArguments& arguments);

StageRunner::Options runner_options(const RunArguments& arguments);

// When to stop at a checkpoint. Throws UsageError when --stop-before is no time.
std::optional<runtime::StopSignal::Clock::time_point> deadline_of(const RunArguments& arguments);

// On standard output. Where nobody looks on any more it is not lost: the run folder holds it.
void show(const std::string& text);

}  // namespace cskd::launch

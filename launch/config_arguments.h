// The arguments of every command that takes a configuration: CONFIG and --set.
#pragma once

#include <string>
#include <vector>

#include <CLI/App.hpp>

#include "config/config.pb.h"

namespace cskd::launch {

struct ConfigArguments {
  std::string path;
  std::vector<std::string> overrides;
};

// Adds both to the command; `what_for` describes CONFIG. `arguments` must live as long as the command.
void add_config_arguments(CLI::App& command, const std::string& what_for, ConfigArguments& arguments);

// The configuration of a run, with its plug-ins loaded. Throws as config::load_config() and features::load_plugins().
config::Config load_run(const std::string& path, const std::vector<std::string>& overrides);

// PATH of a command that looks at a run: where it is a configuration (*.toml), its run folder, otherwise PATH itself.
// Throws UsageError as config::load_config().
std::string run_folder_of(const std::string& path);

}  // namespace cskd::launch

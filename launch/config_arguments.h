// The arguments of every command that takes a configuration: CONFIG and --set.
#pragma once

#include <string>
#include <vector>

#include <CLI/App.hpp>

namespace cskd::launch {

struct ConfigArguments {
  std::string path;
  std::vector<std::string> overrides;
};

// Adds both to the command; `what_for` describes CONFIG. `arguments` must live as long as the command.
void add_config_arguments(CLI::App& command, const std::string& what_for, ConfigArguments& arguments);

// PATH of a command that looks at a run: where it is a configuration (*.toml), its run folder, otherwise PATH itself.
// Throws UsageError as config::load_config().
std::string run_folder_of(const std::string& path);

}  // namespace cskd::launch

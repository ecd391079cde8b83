// What every command that takes a configuration has on its command line: CONFIG and --set.
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

}  // namespace cskd::launch

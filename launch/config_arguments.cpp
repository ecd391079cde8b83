#include "launch/config_arguments.h"

#include <filesystem>
#include <system_error>

#include "config/reader.h"
#include "features/plugins.h"

namespace cskd::launch {

void add_config_arguments(CLI::App& command, const std::string& what_for, ConfigArguments& arguments) {
  command.add_option("CONFIG", arguments.path, what_for);
  // One value each time it is given: otherwise it would swallow the CONFIG that follows.
  command
      .add_option("--set", arguments.overrides,
                  "Change a key of the configuration: --set run.seed=7, --set sources[0].path=/photos")
      ->type_name("KEY=VALUE")
      ->allow_extra_args(false);
}

config::Config load_run(const std::string& path, const std::vector<std::string>& overrides) {
  config::Config config = config::load_config(path, overrides);
  features::load_plugins(config);
  return config;
}

std::string run_folder_of(const std::string& path) {
  std::error_code error;
  const bool is_configuration =
      std::filesystem::path(path).extension() == ".toml" && std::filesystem::is_regular_file(path, error);
  return is_configuration ? config::load_config(path, {}).run().folder() : path;
}

}  // namespace cskd::launch

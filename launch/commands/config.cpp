#include <cstdio>
#include <memory>
#include <string>

#include "config/documentation.h"
#include "config/reader.h"
#include "config/toml_writer.h"
#include "launch/commands/commands.h"
#include "launch/config_arguments.h"

namespace cskd::launch {
namespace {

struct Arguments {
  ConfigArguments config;
  bool help_all = false;
  bool markdown = false;
};

std::string output(const Arguments& arguments) {
  if (arguments.help_all) return config::help_all();
  if (arguments.markdown) return config::markdown_page();
  if (arguments.config.path.empty()) {
    throw runtime::UsageError("name a configuration file, or ask for --help-all; see 'cskd config --help'");
  }
  return config::to_toml(config::load_config(arguments.config.path, arguments.config.overrides));
}

}  // namespace

void add_config(Program& program) {
  CLI::App& command = program.add_command(
      "config", "Check a configuration and print it with every default, or print what all keys mean",
      "  cskd config configs/demo.toml\n"
      "  cskd config configs/demo.toml --set run.seed=7\n"
      "  cskd config --help-all");
  const auto arguments = std::make_shared<Arguments>();
  add_config_arguments(command, "Configuration file, TOML", arguments->config);
  command.add_flag("--help-all", arguments->help_all, "Print every key with type, unit, default and effect");
  command.add_flag("--markdown", arguments->markdown, "Print the page docs/configuration.md");
  program.run_alone(command, [arguments] {
    std::fputs(output(*arguments).c_str(), stdout);
    return runtime::ExitCode::kDone;
  });
}

}  // namespace cskd::launch

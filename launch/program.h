// The command line of cskd: one object that the command files register with, and what happens to errors.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include "runtime/error.h"
#include "runtime/world.h"

namespace cskd::launch {

class Program {
 public:
  Program();

  // A command with its one-line description and its examples, one a line; add options to what is returned.
  CLI::App& add_command(const std::string& name, const std::string& description, const std::string& examples);

  // What a command does: in one process without MPI, or on every rank of the world. Choose one of the two for each
  // command.
  void run_alone(CLI::App& command, std::function<runtime::ExitCode()> action);
  // `may_be_alone`: as of runtime::check_launch(), for commands of which one process is enough.
  void run_in_world(CLI::App& command, std::function<runtime::ExitCode(runtime::World&)> action,
                    bool may_be_alone = false);

  // Logs from now on at the level that a configuration asks for, unless --log-level was given, and also to a file of
  // each rank in `folder`.
  void use_log_level(const std::string& configured, const runtime::World& world,
                     std::optional<std::filesystem::path> folder = std::nullopt) const;

  const CLI::App& app() const { return app_; }

  // Parses, runs the chosen command and reports errors. Returns the exit code of the process; see Note [Failing
  // together].
  int run(int argc, char** argv);

 private:
  void refuse_unknown_command(int argc, char** argv) const;
  std::string usage_error_text(const CLI::ParseError& error) const;
  int run_world_action(int* argc, char*** argv);

  CLI::App app_;
  std::string log_level_ = "info";
  std::function<runtime::ExitCode()> alone_;
  std::function<runtime::ExitCode(runtime::World&)> in_world_;
  bool may_be_alone_ = false;
};

}  // namespace cskd::launch

#include "launch/program.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <memory>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include "doctor/versions.h"
#include "runtime/failure_point.h"
#include "runtime/launch_check.h"
#include "runtime/logging.h"
#include "runtime/spelling.h"
#include "runtime/terminal.h"

namespace cskd::launch {
namespace {

using runtime::ExitCode;

// Note [Failing together]
// A rank whose command throws cannot know whether the others failed as well (a bad option, a missing file: all do) or
// wait for it in a collective call (one disk is full: only it does). So it offers its error to all for this long. When
// every rank failed, rank 0 prints each different error once, the root cause last, and all end in the ordinary way.
// Otherwise the rank prints its own error and aborts the job.
constexpr std::chrono::seconds kWaitForOtherFailures{3};

void print_error(const std::string& text) {
  std::fflush(stdout);
  const std::string shown = runtime::printable(text);
  std::fwrite(shown.data(), 1, shown.size(), stderr);
  std::fputc('\n', stderr);
  std::fflush(stderr);
}

std::string version_text() {
  std::string text = fmt::format("cskd {}\n", doctor::program_version());
  for (const doctor::LibraryVersion& library : doctor::library_versions()) {
    text += fmt::format("  {:<14} {}\n", library.name, library.version);
  }
  text.pop_back();  // CLI11 ends the line
  return text;
}

// The command of this line that an error is about, the program itself when none was recognised.
const CLI::App& chosen(const CLI::App& app) {
  const std::vector<CLI::App*> commands = app.get_subcommands();
  return commands.empty() ? app : *commands.front();
}

// What one failing rank tells the others, as one text: its exit code, whether it is an echo, its chain of messages.
std::string pack(const std::exception& error) {
  const bool is_echo = dynamic_cast<const runtime::EchoError*>(&error) != nullptr;
  std::string text{static_cast<char>(runtime::exit_code_of(error)), is_echo ? 'e' : 'c'};
  for (const std::string& message : runtime::messages(error)) text += message + '\0';
  return text;
}

std::pair<ExitCode, std::vector<std::string>> unpack(const std::string& text) {
  std::vector<std::string> chain;
  for (size_t start = 2; start < text.size();) {
    const size_t end = text.find('\0', start);
    chain.push_back(text.substr(start, end - start));
    start = end + 1;
  }
  return {static_cast<ExitCode>(text.at(0)), chain};
}

// Prints what all ranks failed with and returns the exit code of the one whose error is printed last. Rank 0 prints.
ExitCode report_agreed_failure(const std::vector<std::string>& packed, const runtime::World& world) {
  const auto is_echo = [](const std::string& text) { return text.at(1) == 'e'; };
  std::vector<std::string> causes;
  for (const std::string& text : packed) {
    if (!is_echo(text) && std::find(causes.begin(), causes.end(), text) == causes.end()) causes.push_back(text);
  }
  if (causes.empty()) causes.push_back(packed.front());
  for (const std::string& text : causes) {
    if (world.rank() != 0) break;
    const auto [code, chain] = unpack(text);
    const auto count = std::count(packed.begin(), packed.end(), text);
    const auto first = std::find(packed.begin(), packed.end(), text) - packed.begin();
    const bool everyone = count == world.size();
    print_error(runtime::describe(chain, static_cast<int>(first), everyone ? 1 : world.size()));
  }
  return unpack(causes.back()).first;
}

}  // namespace

Program::Program() : app_("Trains fast image-aesthetics models from unlabelled photos, guided by CLIP.", "cskd") {
  app_.set_version_flag("--version", version_text, "Print the versions of cskd and of its libraries");
  app_.add_option("--log-level", log_level_, "Lowest severity that is logged")
      ->check(CLI::IsMember({"trace", "debug", "info", "warning", "error", "off"}))
      ->capture_default_str();
  app_.require_subcommand(1);
  app_.fallthrough();
  app_.get_formatter()->column_width(34);
  app_.footer(
      "Every command runs in one process, or in many: mpirun -n 4 cskd COMMAND ..., srun --mpi=pmix cskd COMMAND ...\n"
      "Exit codes: 0 done, 1 failure, 2 command line or configuration, 3 data, 75 checkpointed, start again.");
}

CLI::App& Program::add_command(const std::string& name, const std::string& description, const std::string& examples) {
  CLI::App& command = *app_.add_subcommand(name, description);
  command.footer("Examples:\n" + examples);
  command.fallthrough();
  return command;
}

void Program::run_alone(CLI::App& command, std::function<ExitCode()> action) {
  command.callback([this, action = std::move(action)] { alone_ = action; });
}

void Program::run_in_world(CLI::App& command, std::function<ExitCode(runtime::World&)> action, bool may_be_alone) {
  command.callback([this, action = std::move(action), may_be_alone] {
    in_world_ = action;
    may_be_alone_ = may_be_alone;
  });
}

void Program::use_log_level(const std::string& configured, const runtime::World& world,
                            std::optional<std::filesystem::path> folder) const {
  const bool given = app_.get_option("--log-level")->count() > 0;
  runtime::start_logging({.level = given ? log_level_ : configured,
                          .rank = world.rank(),
                          .world_size = world.size(),
                          .folder = std::move(folder)});
}

void Program::refuse_unknown_command(int argc, char** argv) const {
  if (argc < 2 || *argv[1] == '-') return;
  const std::string word = argv[1];
  std::vector<std::string> names;
  for (const CLI::App* command : app_.get_subcommands({})) names.push_back(command->get_name());
  if (std::find(names.begin(), names.end(), word) != names.end()) return;
  const std::string near = runtime::nearest(word, names);
  throw runtime::UsageError(fmt::format("unknown command '{}'{}; 'cskd --help' lists the commands", word,
                                        near.empty() ? "" : fmt::format(", did you mean '{}'?", near)));
}

std::string Program::usage_error_text(const CLI::ParseError& error) const {
  const CLI::App& command = chosen(app_);
  const std::string called = &command == &app_ ? "cskd" : "cskd " + command.get_name();
  if (dynamic_cast<const CLI::ExtrasError*>(&error) == nullptr) {
    return fmt::format("{}; see '{} --help'", error.what(), called);
  }
  std::vector<std::string> options;
  for (const CLI::App* app : {&app_, &command}) {
    for (const CLI::Option* option : app->get_options()) {
      for (const std::string& name : option->get_lnames()) options.push_back("--" + name);
    }
  }
  const std::vector<std::string> extras = app_.remaining(true);
  const std::string word = extras.empty() ? "" : extras.front();
  const std::string near = runtime::nearest(word.substr(0, word.find('=')), options);
  return fmt::format("{} '{}'{}; see '{} --help'", word.starts_with("-") ? "unknown option" : "unexpected argument",
                     word, near.empty() || !word.starts_with("-") ? "" : fmt::format(", did you mean '{}'?", near),
                     called);
}

int Program::run(int argc, char** argv) {
  const int rank = runtime::launcher_rank(runtime::process_environment());
  const auto fail = [rank](const std::exception& error) {
    if (rank == 0) print_error(runtime::describe(error, 0, 1));
    return static_cast<int>(runtime::exit_code_of(error));
  };
  try {
    runtime::arm_failure_from_environment();
    refuse_unknown_command(argc, argv);
    app_.parse(argc, argv);
    if (alone_) {
      runtime::start_logging({.level = log_level_});
      return static_cast<int>(alone_());
    }
    return run_world_action(&argc, &argv);
  } catch (const CLI::Success& help_or_version) {
    return rank == 0 ? app_.exit(help_or_version) : 0;
  } catch (const CLI::ParseError& error) {
    return fail(runtime::UsageError(usage_error_text(error)));
  } catch (const std::exception& error) {
    return fail(error);
  }
}

int Program::run_world_action(int* argc, char*** argv) {
  const auto world = std::make_unique<runtime::World>(argc, argv, may_be_alone_);
  try {
    runtime::start_logging({.level = log_level_, .rank = world->rank(), .world_size = world->size()});
    for (const std::string& warning : world->failure_detector().warnings()) spdlog::warn("{}", warning);
    return static_cast<int>(in_world_(*world));
  } catch (const std::exception& error) {
    const ExitCode code = runtime::exit_code_of(error);
    world->failure_detector().stand_aside();
    if (const auto all = world->exchange_failures(pack(error), kWaitForOtherFailures)) {
      const auto agreed = static_cast<int>(report_agreed_failure(*all, *world));
      if (!world->broken()) return agreed;
      world->abort(agreed, error.what());
    }
    print_error(runtime::describe(error, world->rank(), world->size()));
    world->abort(static_cast<int>(code), runtime::messages(error).back());
  }
}

}  // namespace cskd::launch

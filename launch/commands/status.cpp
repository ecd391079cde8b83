#include "report/status.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <sys/ioctl.h>
#include <unistd.h>

#include "launch/commands/commands.h"
#include "launch/config_arguments.h"
#include "report/complete_stages.h"
#include "report/health.h"
#include "report/status_text.h"
#include "runtime/stop_signal.h"
#include "runtime/terminal.h"
#include "runtime/unix_time.h"

namespace cskd::launch {
namespace {

using Clock = std::chrono::steady_clock;
using report::Health;
using report::Status;
using report::Verdict;

struct StatusArguments {
  std::string run;
  bool watch = false;
  bool json = false;
  double interval = 2;  // seconds
};

struct Observation {
  Status status;
  Health health;
};

// Reads the status again and again; knows for how long it has been as it is.
class Watcher {
 public:
  explicit Watcher(std::filesystem::path run) : run_(std::move(run)) {}

  Observation look() {
    Observation look{.status = report::read_status(run_)};
    if (look.status.updated != updated_) {
      saw_it_change_ = updated_.has_value();
      updated_ = look.status.updated;
      since_ = Clock::now();
    }
    const std::chrono::duration<double> unchanged = Clock::now() - since_;
    look.health = report::health_of(look.status, {.now = runtime::unix_time(),
                                                  .process = report::look_for_process(look.status),
                                                  .unchanged = unchanged.count(),
                                                  .saw_it_change = saw_it_change_});
    return look;
  }

 private:
  std::filesystem::path run_;
  std::optional<double> updated_;
  Clock::time_point since_;
  bool saw_it_change_ = false;
};

// A single look can be wrong: the run has just ended, or clocks differ. So what seems to be silent is looked at again,
// for a little longer than a sign of life takes.
Observation careful_observation(Watcher& watcher) {
  constexpr std::chrono::seconds kLongEnough{6};
  constexpr std::chrono::milliseconds kPause{250};
  Observation look = watcher.look();
  const auto end = Clock::now() + kLongEnough;
  while (look.health.verdict == Verdict::kSilent && Clock::now() < end) {
    const bool is_gone = report::look_for_process(look.status) == report::Onlooker::Process::kGone;
    std::this_thread::sleep_for(kPause);
    look = watcher.look();
    if (is_gone) break;
  }
  return look;
}

runtime::ExitCode exit_code(Verdict verdict) {
  switch (verdict) {
    case Verdict::kHealthy:
    case Verdict::kFinished:
      return runtime::ExitCode::kDone;
    case Verdict::kStopped:
      return runtime::ExitCode::kRequeue;
    case Verdict::kStalled:
    case Verdict::kSilent:
    case Verdict::kFailed:
      break;
  }
  return runtime::ExitCode::kFailure;
}

void print(const std::string& text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

std::string json_text(const Observation& look) {
  nlohmann::ordered_json document = report::to_json(look.status);
  document["health"] = {{"verdict", report::to_string(look.health.verdict)}, {"text", look.health.text}};
  return document.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

std::string block_text(const std::string& run, const Observation& look) {
  report::StatusView view{.now = runtime::unix_time()};
  if (runtime::is_terminal(runtime::Stream::kOutput))
    view.columns = runtime::terminal_columns(runtime::Stream::kOutput);
  view.has_colours = runtime::wants_colours(runtime::Stream::kOutput);
  return report::status_text(run, look.status, look.health, report::complete_stages(run), view);
}

// Draws blocks of lines on a terminal, each over the one before, in one write.
class Screen {
 public:
  void draw(const std::string& block) {
    std::string text = lines_ > 0 ? fmt::format("\r\x1b[{}A", lines_) : "";
    lines_ = 0;
    const int room = rows() - 1;
    for (std::size_t start = 0; start < block.size() && lines_ < room; ++lines_) {
      const std::size_t end = block.find('\n', start);
      text.append(block, start, end - start).append("\x1b[K\n");
      start = end == std::string::npos ? block.size() : end + 1;
    }
    print(text + "\x1b[J");
  }

 private:
  static int rows() {
    struct winsize size {};
    return ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 1 ? size.ws_row : 24;
  }

  int lines_ = 0;
};

// False when somebody asked to stop.
bool pause_for(double seconds) {
  constexpr std::chrono::milliseconds kPause{50};
  const auto end = Clock::now() + std::chrono::duration<double>(seconds);
  while (Clock::now() < end && runtime::StopSignal::received() == 0)
    std::this_thread::sleep_for(
        std::min<Clock::duration>(kPause, std::chrono::duration_cast<Clock::duration>(end - Clock::now())));
  return runtime::StopSignal::received() == 0;
}

runtime::ExitCode watch(const StatusArguments& arguments) {
  const runtime::StopSignal stop;
  const bool is_terminal = runtime::is_terminal(runtime::Stream::kOutput);
  Watcher watcher(arguments.run);
  Screen screen;
  std::string last_line;
  do {
    const Observation look = watcher.look();
    if (is_terminal) {
      screen.draw(block_text(arguments.run, look));
    } else if (std::string line = report::status_line(look.status, look.health); line != last_line) {
      print(line + "\n");
      last_line = std::move(line);
    }
    if (look.status.state != report::RunState::kRunning) return exit_code(look.health.verdict);
  } while (pause_for(arguments.interval));
  return runtime::ExitCode::kDone;
}

runtime::ExitCode show_status(const StatusArguments& arguments) {
  if (arguments.watch) return watch(arguments);
  Watcher watcher(arguments.run);
  const Observation look = careful_observation(watcher);
  print(arguments.json ? json_text(look) : block_text(arguments.run, look));
  return exit_code(look.health.verdict);
}

std::string is_interval(const std::string& text) {
  const double seconds = std::strtod(text.c_str(), nullptr);
  return seconds >= 0.1 && seconds <= 3600 ? "" : fmt::format("is {}, expected 0.1 to 3600 seconds", text);
}

}  // namespace

void add_status(Program& program) {
  CLI::App& command = program.add_command("status", "Show what a run is doing, its progress and its health",
                                          "  cskd status runs/demo\n"
                                          "  cskd status configs/demo.toml\n"
                                          "  cskd status runs/demo --watch\n"
                                          "  cskd status runs/demo --json");
  const auto arguments = std::make_shared<StatusArguments>();
  command.add_option("RUN", arguments->run, "Run folder, or the configuration of the run")->required();
  CLI::Option* watch_flag = command.add_flag("--watch", arguments->watch, "Refresh until the run ends");
  command.add_option("--interval", arguments->interval, "Seconds between refreshes of --watch")
      ->check(is_interval)
      ->capture_default_str()
      ->needs(watch_flag);
  command.add_flag("--json", arguments->json, "Print JSON: the file status.json, with the verdict on its health")
      ->excludes(watch_flag);
  program.run_alone(command, [arguments] {
    arguments->run = run_folder_of(arguments->run);
    return show_status(*arguments);
  });
}

}  // namespace cskd::launch

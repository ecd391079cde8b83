// spdlog, set up once in main: rank 0 on the console, every rank in a file of its own.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include <spdlog/spdlog.h>

namespace cskd::runtime {

struct LogOptions {
  std::string level = "info";  // trace, debug, info, warning, error or off
  int rank = 0;                // ranks above 0 write only errors to the console
  int world_size = 1;          // with more than one rank each console line names its rank
  std::optional<std::filesystem::path> folder =
      std::nullopt;  // adds `<folder>/rank-<rank>.log` at that level, appended
};

// Replaces spdlog's default logger. Console lines go to stderr, coloured only on a terminal and never with NO_COLOR
// set. Throws UsageError for an unknown level, Error when the log file cannot be opened.
void start_logging(const LogOptions& options);

// An error that the console gets in another way: to this rank's log file alone, if there is one.
void log_to_file(const std::string& text);

}  // namespace cskd::runtime

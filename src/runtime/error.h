// Errors of the environment and of bad input, with their causes.
//
// A message says what failed, what was expected and found, and where (path, place). A lower error is wrapped with
// rethrow_with_context(), never replaced, so that the chain reads outermost to root. Our own bugs are CSKD_CHECK's
// business.
#pragma once

#include <exception>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace cskd::runtime {

// The exit codes of the program; main() is the only place that turns them into a process status.
enum class ExitCode : int {
  kDone = 0,
  kFailure = 1,   // the environment: disk, network, a dead rank, a bug of ours
  kUsage = 2,     // command line or configuration
  kData = 3,      // corrupt, missing or leaking data
  kRequeue = 75,  // checkpointed; asks the scheduler to start it again
};

class Error : public std::runtime_error {
 public:
  explicit Error(const std::string& message, ExitCode exit_code = ExitCode::kFailure)
      : std::runtime_error(message), exit_code_(exit_code) {}
  ExitCode exit_code() const noexcept { return exit_code_; }

 private:
  ExitCode exit_code_;
};

// Wrong command line or configuration: exit code 2.
class UsageError : public Error {
 public:
  explicit UsageError(const std::string& message) : Error(message, ExitCode::kUsage) {}
};

// Corrupt, missing or leaking data: exit code 3.
class DataError : public Error {
 public:
  explicit DataError(const std::string& message) : Error(message, ExitCode::kData) {}
};

// Says only that another rank failed, whose own error names the cause: left out where that one is printed.
class EchoError : public Error {
 public:
  explicit EchoError(int rank) : Error("rank " + std::to_string(rank) + " failed") {}
};

// Throws Error("<what failed>: <text of error_number>"), e.g. "cannot open a/b.toml: No such file or directory".
[[noreturn]] void throw_system_error(std::string_view what_failed, int error_number);

// Call inside a catch block: throws an Error with `context` that nests the current exception and keeps its exit code.
[[noreturn]] void rethrow_with_context(const std::string& context);

// Messages of the chain, outermost first, root cause last.
std::vector<std::string> messages(const std::exception& error);

// Exit code of the outermost Error; kFailure for any other exception.
ExitCode exit_code_of(const std::exception& error) noexcept;

// The chain as console text, one line per message, the root cause last. With more than one rank every line names the
// rank.
//   cskd: error: cannot write the demo corpus to /data/demo
//   cskd:   because: cannot create /data/demo.partial: Read-only file system
std::string describe(const std::exception& error, int rank, int world_size);
std::string describe(const std::vector<std::string>& messages, int rank, int world_size);

}  // namespace cskd::runtime

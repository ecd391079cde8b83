// The file <run>/status.json, kept up to date while a run goes on.
#pragma once

#include <chrono>
#include <filesystem>
#include <memory>
#include <thread>

#include "report/status.h"

namespace cskd::report {

// A thread writes the file, atomically: soon after a change, at most once in `least_interval`, and again after
// `heartbeat` though nothing changed, so that a run that hangs can be told from one that is gone. A disk that fails is
// logged once, and each write tries anew. One writer per run folder. Failure point status.write.
class StatusFile {
 public:
  struct Timing {
    std::chrono::milliseconds least_interval{std::chrono::seconds(1)};
    std::chrono::milliseconds heartbeat{std::chrono::seconds(5)};
    std::chrono::milliseconds close_timeout{std::chrono::seconds(10)};  // longest wait of the destructor
  };

  // Writes nothing before the first set(). Throws Error when the host has no name.
  explicit StatusFile(const std::filesystem::path& run);
  StatusFile(const std::filesystem::path& run, Timing timing);
  // Writes what was set last.
  ~StatusFile();
  StatusFile(const StatusFile&) = delete;
  StatusFile& operator=(const StatusFile&) = delete;

  // Returns at once. Fills in the fields from `host` on itself. Any thread.
  void set(Status status);

 private:
  struct State;
  std::shared_ptr<State> state_;  // shared with the thread
  std::thread thread_;
};

}  // namespace cskd::report

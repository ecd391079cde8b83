// One job at a time works in a run folder.
#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>

namespace cskd::runtime {

// Note [Run lock]
// The file run.lock in the folder names the host, process and start of its holder. Two things hold it: a lock of the
// operating system (flock), which goes with the process however it ends; and, since some network file systems keep
// these locks to one host, a sign of life: its time is set anew every few seconds. A file whose lock is free and whose
// last sign of life is old was left by a process that was killed, and is taken over. One from another host that is
// fresh may be of a job that was killed just now, as when a scheduler starts it again elsewhere: it is waited for until
// it is old. Ages are differences of the file server's own times, so that hosts' clocks do not matter.
class RunLock {
 public:
  struct Timing {
    std::chrono::milliseconds sign_of_life{std::chrono::seconds(10)};  // time between two
    std::chrono::milliseconds stale_after{std::chrono::seconds(60)};   // age at which a holder counts as gone
    std::chrono::milliseconds poll{std::chrono::milliseconds(500)};
  };

  // Takes it; `tell` gets messages for people (a stale lock, a wait). Throws UsageError that names the holder when the
  // folder is in use, Error when the file cannot be made.
  RunLock(const std::filesystem::path& folder, const std::function<void(const std::string&)>& tell);
  RunLock(const std::filesystem::path& folder, const std::function<void(const std::string&)>& tell, Timing timing);
  // Removes the file.
  ~RunLock();
  RunLock(const RunLock&) = delete;
  RunLock& operator=(const RunLock&) = delete;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace cskd::runtime

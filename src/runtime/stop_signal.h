// SIGUSR1 and SIGTERM ask the program to stop at the next safe place; they only set a flag.
#pragma once

namespace cskd::runtime {

// While it lives, the first SIGUSR1, SIGTERM or SIGINT sets the flag, and a second one ends the process at once with
// the signal's default action. Restores the previous handlers. At most one at a time (CheckFailure).
class StopSignal {
 public:
  StopSignal();
  ~StopSignal();
  StopSignal(const StopSignal&) = delete;
  StopSignal& operator=(const StopSignal&) = delete;

  // The signal that arrived, 0 when none did or no StopSignal lives. Async-signal-safe, any thread.
  static int received() noexcept;
};

}  // namespace cskd::runtime

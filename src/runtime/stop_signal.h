// SIGUSR1, SIGTERM and deadlines ask the program to stop at the next safe place; they only set a flag.
#pragma once

#include <chrono>
#include <optional>

namespace cskd::runtime {

// While it lives, the first SIGUSR1, SIGTERM, SIGINT or SIGHUP (unless it was ignored, as under nohup) sets the flag.
// Those of the next kRepeats are the same wish, since launcher and batch system may both pass it on; a later one ends
// the process at once with the signal's default action. A deadline sets the flag, too, early enough for what was
// reserved. Restores the previous handlers. At most one at a time (CheckFailure).
class StopSignal {
 public:
  using Clock = std::chrono::steady_clock;
  static constexpr std::chrono::seconds kRepeats{5};

  explicit StopSignal(std::optional<Clock::time_point> deadline = std::nullopt);
  ~StopSignal();
  StopSignal(const StopSignal&) = delete;
  StopSignal& operator=(const StopSignal&) = delete;

  // The signal that arrived, SIGALRM for the deadline; 0 when none did or no StopSignal lives. Async-signal-safe, any
  // thread.
  static int received() noexcept;

  // How long it takes from the flag to the end: the deadline counts as reached so much earlier. 5 s at first.
  static void reserve(std::chrono::duration<double> time) noexcept;
};

}  // namespace cskd::runtime

// The time of day as files and people tell it.
#pragma once

#include <chrono>

namespace cskd::runtime {

// Seconds since 1970 by the system's clock, which may be set: durations need the steady clock.
inline double unix_time() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

}  // namespace cskd::runtime

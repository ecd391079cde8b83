// The end of a thread that writes to a disk, which may hang.
#pragma once

#include <atomic>
#include <thread>

namespace cskd::report {

// Joins the thread when it is over. Otherwise it is left to itself, and learns by `is_abandoned` that nobody waits for
// it, and that there may be no logger any more.
inline void join_or_abandon(std::thread& thread, bool is_over, std::atomic<bool>& is_abandoned) {
  if (is_over) {
    thread.join();
  } else {
    is_abandoned = true;
    thread.detach();
  }
}

}  // namespace cskd::report

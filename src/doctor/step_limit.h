// Ends the job when a step takes too long, and says which.
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>
#include <utility>

#include "runtime/world.h"

namespace cskd::doctor {

// A call of the system may hang for ever, as on a mount whose server is gone; the other ranks would wait for this one
// without knowing why. So a thread ends the job after `limit`, with exit code 1, naming host and step. Steps are what a
// rank does alone: while it waits for others, none is going on.
class StepLimit {
 public:
  StepLimit(const runtime::World& world, std::chrono::seconds limit);
  ~StepLimit();
  StepLimit(const StepLimit&) = delete;
  StepLimit& operator=(const StepLimit&) = delete;

  // Does it as a step, named as in "it is not done with ...". One at a time.
  template <typename Act>
  void run(std::string step, const Act& act) {
    begin(std::move(step));
    act();
    begin("");
  }

 private:
  void begin(std::string step);
  void watch();

  const runtime::World& world_;
  const std::chrono::seconds limit_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::string step_;
  std::chrono::steady_clock::time_point begun_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace cskd::doctor

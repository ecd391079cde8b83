#include "doctor/step_limit.h"

#include <cstdio>

#include <fmt/format.h>

#include "runtime/error.h"

namespace cskd::doctor {

StepLimit::StepLimit(const runtime::World& world, std::chrono::seconds limit)
    : world_(world), limit_(limit), thread_([this] { watch(); }) {}

StepLimit::~StepLimit() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void StepLimit::begin(std::string step) {
  {
    const std::lock_guard lock(mutex_);
    step_ = std::move(step);
    begun_ = std::chrono::steady_clock::now();
  }
  changed_.notify_all();
}

void StepLimit::watch() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    if (step_.empty()) {
      changed_.wait(lock);
    } else if (changed_.wait_until(lock, begun_ + limit_) == std::cv_status::timeout && !stopping_ && !step_.empty() &&
               std::chrono::steady_clock::now() >= begun_ + limit_) {
      const runtime::Error error(
          fmt::format("no-go: {} hangs: it is not done after {} s with {}. Look at that host, or "
                      "leave it out",
                      world_.host(), limit_.count(), step_));
      std::fflush(stdout);
      std::fputs((runtime::describe(error, world_.rank(), world_.size()) + "\n").c_str(), stderr);
      std::fflush(stderr);
      world_.abort(static_cast<int>(runtime::ExitCode::kFailure), error.what());
    }
  }
}

}  // namespace cskd::doctor

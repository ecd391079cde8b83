#include "report/status_file.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <string>
#include <utility>

#include <nlohmann/json.hpp>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include "report/disk_thread.h"
#include "runtime/atomic_file.h"
#include "runtime/failure_point.h"
#include "runtime/host.h"

namespace cskd::report {
namespace {

using Clock = std::chrono::steady_clock;

double seconds(Clock::duration time) { return std::chrono::duration<double>(time).count(); }

std::string file_text(const Status& status) {
  return to_json(status).dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace

struct StatusFile::State {
  std::filesystem::path path;
  Timing timing;
  std::string host = runtime::host_name();
  std::string space = runtime::process_namespace();
  const Clock::time_point started = Clock::now();

  std::mutex mutex;
  std::condition_variable changed;
  Status status;
  Clock::time_point last_step = started;
  double step_seconds = 0;
  double longest_step_seconds = 0;
  bool is_first_step = true;  // of the stage: it takes longer
  bool is_set = false;
  bool is_new = false;  // not written yet
  bool closes = false;
  bool is_over = false;                   // the thread
  bool is_told = false;                   // that the disk failed; of the thread
  std::atomic<bool> is_abandoned{false};  // the thread

  void note_step(const Status& next);
  Status stamped() const;
  void run();
  void write(const Status& stamped_status);
};

// REQUIRES: the mutex is held; so below
void StatusFile::State::note_step(const Status& next) {
  constexpr double kWeight = 0.1;  // of the newest in the usual time
  const bool is_stage = !is_set || next.stage != status.stage || next.step < status.step;
  if (!is_stage && next.step == status.step) return;
  const auto now = Clock::now();
  if (is_stage) {
    step_seconds = 0;
    longest_step_seconds = 0;
    is_first_step = true;
  } else if (is_first_step) {
    is_first_step = false;
  } else {
    const double gap = seconds(now - last_step);
    const double each = gap / static_cast<double>(next.step - status.step);
    step_seconds = step_seconds == 0 ? each : (1 - kWeight) * step_seconds + kWeight * each;
    longest_step_seconds = std::max(longest_step_seconds, gap);
  }
  last_step = now;
}

// All times by one reading of the system's clock: their differences hold when it is set.
Status StatusFile::State::stamped() const {
  Status result = status;
  const auto now = Clock::now();
  result.host = host;
  result.pid = ::getpid();
  result.process_namespace = space;
  result.updated = seconds(std::chrono::system_clock::now().time_since_epoch());
  result.started = result.updated - seconds(now - started);
  result.last_step_time = result.updated - seconds(now - last_step);
  result.step_seconds = step_seconds;
  result.longest_step_seconds = longest_step_seconds;
  return result;
}

void StatusFile::State::run() {
  std::unique_lock lock(mutex);
  changed.wait(lock, [this] { return closes || is_set; });
  while (!closes || is_new) {
    const Status next = stamped();
    is_new = false;
    lock.unlock();
    write(next);
    lock.lock();
    changed.wait_for(lock, timing.least_interval, [this] { return closes; });
    changed.wait_for(lock, timing.heartbeat - timing.least_interval, [this] { return closes || is_new; });
  }
  is_over = true;
  changed.notify_all();
}

void StatusFile::State::write(const Status& stamped_status) {
  try {
    runtime::failure_point("status.write", path.native());
    runtime::write_file_atomically(path, file_text(stamped_status));
  } catch (const std::exception& error) {
    if (!is_abandoned && !std::exchange(is_told, true))
      spdlog::warn("{} cannot be kept up to date: {}", path.native(), error.what());
  }
}

StatusFile::StatusFile(const std::filesystem::path& run) : StatusFile(run, Timing{}) {}

StatusFile::StatusFile(const std::filesystem::path& run, Timing timing) : state_(std::make_shared<State>()) {
  state_->path = status_path(run);
  state_->timing = timing;
  thread_ = std::thread([state = state_] { state->run(); });
}

StatusFile::~StatusFile() {
  std::unique_lock lock(state_->mutex);
  state_->closes = true;
  state_->changed.notify_all();
  const bool is_over = state_->changed.wait_for(lock, state_->timing.close_timeout, [this] { return state_->is_over; });
  lock.unlock();
  join_or_abandon(thread_, is_over, state_->is_abandoned);
}

void StatusFile::set(Status status) {
  const std::lock_guard lock(state_->mutex);
  state_->note_step(status);
  state_->status = std::move(status);
  state_->is_set = true;
  // Otherwise the thread knows already, and is not woken for nothing at every step.
  if (!std::exchange(state_->is_new, true)) state_->changed.notify_all();
}

}  // namespace cskd::report

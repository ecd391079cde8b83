#include "report/append_queue.h"

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <mutex>
#include <utility>

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "report/disk_thread.h"
#include "report/number_text.h"
#include "runtime/error.h"

namespace cskd::report {
namespace {

std::string text_of(const std::exception_ptr& failure) {
  try {
    std::rethrow_exception(failure);
  } catch (const std::exception& error) {
    return error.what();
  } catch (...) {
    return "an unknown error";
  }
}

std::string seconds_text(std::chrono::duration<double> time) { return duration_text(time.count()); }

}  // namespace

struct AppendQueue::State {
  std::string name;
  std::function<void(std::string_view)> append;
  Options options;

  std::mutex mutex;
  std::condition_variable work;    // for the thread
  std::condition_variable done;    // by the thread
  std::deque<std::string> pieces;  // the first may be under way
  std::size_t bytes = 0;           // of them
  std::uint64_t pushed = 0;
  std::uint64_t appended = 0;
  std::uint64_t attempts = 0;        // begun
  std::uint64_t failed_attempt = 0;  // number of the last that failed
  std::exception_ptr failure;        // of the first piece; set by the thread
  int failures = 0;                  // of the first piece, one after another
  bool is_told = false;              // the failure was thrown
  int flushes = 0;                   // that wait
  std::uint64_t flush_attempt = 0;   // the first that counts for the latest of them
  bool closes = false;
  bool is_over = false;                   // the thread
  std::atomic<bool> is_abandoned{false};  // the thread

  // A piece fails for good when it was tried again, and not by an attempt from before `first_attempt`.
  bool has_failed(std::uint64_t first_attempt) const {
    return failure && (is_over || (failed_attempt >= first_attempt && failures > 1));
  }
  bool retries() const { return options.on_failure == OnFailure::kRetry; }
  void run();
  bool append_first(std::unique_lock<std::mutex>& lock);
  [[noreturn]] void throw_failure() {
    is_told = true;
    std::rethrow_exception(failure);
  }
};

void AppendQueue::State::run() {
  std::unique_lock lock(mutex);
  for (;;) {
    work.wait(lock, [this] { return closes || !pieces.empty(); });
    if (pieces.empty()) break;
    if (failure)
      work.wait_for(lock, options.retry_after,
                    [this] { return closes || (flushes > 0 && !has_failed(flush_attempt)); });
    const bool is_last_try = closes || !retries();
    if (!append_first(lock) && is_last_try) break;
  }
  is_over = true;
  done.notify_all();
}

// The lock is not held while the disk works, nor while the log does.
bool AppendQueue::State::append_first(std::unique_lock<std::mutex>& lock) {
  const std::uint64_t attempt = ++attempts;
  const std::string& piece = pieces.front();  // stays where it is while others are pushed
  std::exception_ptr error;
  lock.unlock();
  try {
    append(piece);
  } catch (...) {
    error = std::current_exception();
  }
  if (is_abandoned) {
    // Nobody waits for news.
  } else if (retries() && error && !failure) {
    spdlog::warn("{}: trying again every {}", text_of(error), seconds_text(options.retry_after));
  } else if (failure && !error) {
    spdlog::warn("{} is written again; nothing is lost", name);
  }
  lock.lock();
  failure = error;
  if (error) {
    failed_attempt = attempt;
    ++failures;
  } else {
    failures = 0;
    bytes -= piece.size();
    pieces.pop_front();
    ++appended;
  }
  done.notify_all();
  return !error;
}

AppendQueue::AppendQueue(std::string name, std::function<void(std::string_view)> append, Options options)
    : state_(std::make_shared<State>()) {
  state_->name = std::move(name);
  state_->append = std::move(append);
  state_->options = options;
  thread_ = std::thread([state = state_] { state->run(); });
}

AppendQueue::~AppendQueue() {
  std::unique_lock lock(state_->mutex);
  state_->closes = true;
  state_->work.notify_one();
  const bool is_over = state_->done.wait_for(lock, state_->options.close_timeout, [this] { return state_->is_over; });
  if (!state_->pieces.empty() && !state_->is_told) {
    const std::string why =
        state_->failure ? text_of(state_->failure)
                        : fmt::format("it did not take them within {}", seconds_text(state_->options.close_timeout));
    spdlog::error("the last {} bytes of {} are lost: {}", state_->bytes, state_->name, why);
  }
  lock.unlock();
  join_or_abandon(thread_, is_over, state_->is_abandoned);
}

void AppendQueue::push(std::string piece) {
  const std::lock_guard lock(state_->mutex);
  state_->bytes += piece.size();
  state_->pieces.push_back(std::move(piece));
  ++state_->pushed;
  state_->work.notify_one();
}

bool AppendQueue::try_push(std::string piece) {
  {
    const std::lock_guard lock(state_->mutex);
    if (state_->bytes + piece.size() > state_->options.most_bytes) return false;
  }
  push(std::move(piece));
  return true;
}

void AppendQueue::flush() {
  State& state = *state_;
  std::unique_lock lock(state.mutex);
  const std::uint64_t target = state.pushed;
  const std::uint64_t first_attempt = state.attempts + 1;
  const auto is_appended = [&] { return state.appended >= target; };
  const auto has_failed = [&] { return state.has_failed(first_attempt); };
  ++state.flushes;
  state.flush_attempt = first_attempt;
  state.work.notify_one();
  state.done.wait_for(lock, state.options.flush_timeout, [&] { return is_appended() || has_failed(); });
  --state.flushes;
  if (is_appended()) return;
  if (has_failed()) state.throw_failure();
  throw runtime::Error(fmt::format("{} did not take {} bytes within {}: its disk hangs", state.name, state.bytes,
                                   seconds_text(state.options.flush_timeout)));
}

void AppendQueue::throw_if_failed() {
  const std::lock_guard lock(state_->mutex);
  if (!state_->retries() && state_->failure) state_->throw_failure();
}

}  // namespace cskd::report

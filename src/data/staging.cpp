#include "data/staging.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>

#include "data/staging_copier.h"
#include "data/staging_folder.h"
#include "runtime/error.h"
#include "runtime/free_space.h"

namespace cskd::data {
namespace {

using Clock = std::chrono::steady_clock;
using Outcome = StagingCopier::Outcome;

// Until what another rank copies is looked at again.
constexpr std::chrono::milliseconds kPause{100};
constexpr std::chrono::seconds kLongestPause{5};

}  // namespace

struct Staging::State {
  struct Request {
    File file;
    std::string name;
    std::vector<std::function<void()>> callbacks;
    Clock::time_point not_before;
    Clock::duration pause = kPause;
    bool is_tried = false;
  };

  std::filesystem::path path;
  std::atomic<std::uint64_t> reads{0};
  std::atomic<std::uint64_t> hits{0};
  std::atomic<bool> stopping{false};
  std::shared_ptr<StagingFolder> folder;  // empty when it cannot be used

  mutable std::mutex mutex;  // of what follows
  std::condition_variable changed;
  Counts counts;
  std::deque<Request> requests;
  bool is_busy = false;
  std::set<std::string> hopeless;  // files that are not copied
  Request* under_way = nullptr;
  std::thread thread;

  // Without the mutex.
  void turn_off(const std::exception& error) {
    const std::lock_guard lock(mutex);
    if (!counts.is_off) {
      spdlog::warn("no more files are copied to {}: {}; shared files are read instead", path.native(),
                   runtime::messages(error).back());
    }
    counts.is_off = true;
  }

  // Without the mutex. Errors of the local disk end the copying.
  Outcome attempt(const Request& request) {
    Counts done;
    Outcome outcome = Outcome::kNever;
    try {
      outcome = StagingCopier(*folder, stopping).attempt(request.name, request.file, done);
    } catch (const std::exception& error) {
      turn_off(error);
    }
    const std::lock_guard lock(mutex);
    counts.copied += done.copied;
    counts.copied_bytes += done.copied_bytes;
    counts.found += done.found;
    counts.removed += done.removed;
    counts.damaged += done.damaged;
    return outcome;
  }

  void work() {
    std::unique_lock lock(mutex);
    for (;;) {
      is_busy = false;
      changed.notify_all();
      changed.wait(lock, [this] { return stopping || !requests.empty(); });
      if (stopping) return;
      const auto next = std::min_element(requests.begin(), requests.end(), [](const Request& a, const Request& b) {
        return a.not_before < b.not_before;
      });
      if (next->not_before > Clock::now()) {
        changed.wait_until(lock, next->not_before);
        continue;
      }
      is_busy = true;
      Request request = std::move(*next);
      requests.erase(next);
      if (counts.is_off) continue;
      under_way = &request;
      lock.unlock();
      const Outcome outcome = attempt(request);
      lock.lock();
      under_way = nullptr;
      if (outcome == Outcome::kNever) hopeless.insert(request.name);
      if (outcome == Outcome::kLater && !stopping) {
        request.not_before = Clock::now() + request.pause;
        request.pause = std::min<Clock::duration>(2 * request.pause, kLongestPause);
        request.is_tried = true;
        requests.push_back(std::move(request));
      } else if (outcome == Outcome::kThere) {
        lock.unlock();
        for (const auto& callback : request.callbacks) callback();
        lock.lock();
      }
    }
  }

  // REQUIRES: the mutex is held
  void ask_for(const File& file, const std::string& name, std::function<void()> when_copied) {
    if (counts.is_off || hopeless.contains(name)) return;
    Request* known = under_way != nullptr && under_way->name == name ? under_way : nullptr;
    for (Request& request : requests) {
      if (request.name == name) known = &request;
    }
    if (known != nullptr) {
      known->callbacks.push_back(std::move(when_copied));
      return;
    }
    requests.push_back({file, name, {std::move(when_copied)}, Clock::now()});
    if (!thread.joinable()) thread = std::thread([this] { work(); });
    changed.notify_all();
  }
};

Staging::Staging(std::filesystem::path folder, std::uint64_t bytes) : state_(std::make_shared<State>()) {
  state_->path = std::move(folder);
  try {
    state_->folder = std::make_shared<StagingFolder>(state_->path, bytes, state_->stopping);
  } catch (const std::exception& error) {
    state_->turn_off(error);
  }
}

Staging::~Staging() {
  state_->stopping = true;
  {
    const std::lock_guard lock(state_->mutex);
    state_->changed.notify_all();
  }
  if (state_->thread.joinable()) state_->thread.join();
  const Counts all = counts();
  if (all.reads > 0) {
    spdlog::info("{} of {} reads were from copies in {}: {} copied ({}), {} found there, {} removed for others",
                 all.hits, all.reads, state_->path.native(), all.copied, runtime::format_bytes(all.copied_bytes),
                 all.found, all.removed);
  }
}

Staging::Place Staging::place_of(const File& file, std::function<void()> when_copied) {
  if (!state_->folder) return {file.path, nullptr};
  const std::string name = StagingFolder::name_of(file);
  const std::lock_guard lock(state_->mutex);
  try {
    if (auto lease = state_->folder->lease(name, file)) {
      const std::filesystem::path copy = state_->folder->copy(name);
      const timespec times[2] = {{.tv_sec = 0, .tv_nsec = UTIME_NOW}, {.tv_sec = 0, .tv_nsec = UTIME_OMIT}};
      ::utimensat(AT_FDCWD, copy.c_str(), times, 0);
      return {copy, std::move(lease)};
    }
  } catch (const runtime::Error&) {
    return {file.path, nullptr};
  }
  state_->ask_for(file, name, std::move(when_copied));
  return {file.path, nullptr};
}

void Staging::distrust(const File& file) {
  {
    const std::lock_guard lock(state_->mutex);
    ++state_->counts.damaged;
  }
  if (state_->folder) state_->folder->remove(StagingFolder::name_of(file));
}

void Staging::count_read(bool of_copy) noexcept {
  state_->reads.fetch_add(1, std::memory_order_relaxed);
  if (of_copy) state_->hits.fetch_add(1, std::memory_order_relaxed);
}

Staging::Counts Staging::counts() const {
  const std::lock_guard lock(state_->mutex);
  Counts all = state_->counts;
  all.reads = state_->reads;
  all.hits = state_->hits;
  return all;
}

void Staging::settle() {
  std::unique_lock lock(state_->mutex);
  state_->changed.wait(lock, [this] {
    return !state_->is_busy && std::all_of(state_->requests.begin(), state_->requests.end(),
                                           [](const State::Request& request) { return request.is_tried; });
  });
}

}  // namespace cskd::data

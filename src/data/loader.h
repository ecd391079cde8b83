// A loader of batches: made ahead on threads, handed out in order, whichever thread finishes first.
#pragma once

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "runtime/check.h"

namespace cskd::data {

// How batches are made. Batches have tickets 0, 1, ...: the whole state of a loader is the ticket of the next one.
template <typename Batch>
struct BatchMaker {
  // The room for a batch, and what its items have in common; called for one ticket after the other, on any thread, and
  // followed by items() of the same ticket.
  std::function<Batch(std::uint64_t ticket)> begin;
  // Puts an item into the batch; called for 0 <= item < items(ticket), on several threads at once. What it throws,
  // next() throws for the batch.
  std::function<void(Batch& batch, std::uint64_t item)> fill;
  std::function<std::uint64_t(std::uint64_t ticket)> items;
  // May be empty. Told, on any thread, when a batch is made and since when it was in the making.
  std::function<void(std::uint64_t ticket, std::chrono::steady_clock::time_point begun)> made;
};

// So many batches fit into `bytes`; at least 2, so that one is made while another one waits.
inline std::uint64_t prefetch_depth(std::uint64_t bytes, std::uint64_t batch_bytes) {
  return std::max<std::uint64_t>(2, bytes / std::max<std::uint64_t>(1, batch_bytes));
}

template <typename Batch>
class Loader {
 public:
  // Batches of tickets first, first + 1, ..., end - 1, at most `depth` of them in the making or waiting at a time. All
  // threads work on the items of a batch together, so that it waits for none of them alone. REQUIRES: threads >= 1,
  // depth >= 1, first <= end
  Loader(int threads, std::uint64_t depth, std::uint64_t first, std::uint64_t end, BatchMaker<Batch> maker)
      : workers_(static_cast<std::uint64_t>(threads)),
        depth_(depth),
        next_begun_(first),
        next_taken_(first),
        end_(end),
        maker_(std::move(maker)) {
    CSKD_CHECK(threads >= 1 && depth >= 1 && first <= end, "{} threads, depth {}, tickets {} to {}", threads, depth,
               first, end);
    for (int i = 0; i < threads; ++i) threads_.emplace_back([this] { work(); });
  }
  // Waits for the items that are in the making, and throws the rest away.
  ~Loader() {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    changed_.notify_all();
  }
  Loader(const Loader&) = delete;
  Loader& operator=(const Loader&) = delete;

  // The batch of the next ticket. Rethrows what was thrown for it: of several items the first one's error. REQUIRES:
  // called at most end - first times
  Batch next() {
    std::unique_lock lock(mutex_);
    CSKD_CHECK(next_taken_ < end_, "all {} batches were taken", end_);
    changed_.wait(lock, [this] { return !batches_.empty() && batches_.front()->is_done(); });
    const std::unique_ptr<InMaking> made = std::move(batches_.front());
    batches_.pop_front();
    ++next_taken_;
    lock.unlock();
    changed_.notify_all();
    if (made->error) std::rethrow_exception(made->error);
    return std::move(*made->batch);
  }

 private:
  struct InMaking {
    std::uint64_t ticket = 0;
    std::chrono::steady_clock::time_point begun = std::chrono::steady_clock::now();
    std::uint64_t items = 0;
    std::uint64_t claimed = 0;
    std::uint64_t finished = 0;
    std::optional<Batch> batch;
    std::exception_ptr error;
    std::uint64_t error_item = 0;
    bool has_begun = false;

    bool is_done() const { return has_begun && finished == items; }
    void fail(std::exception_ptr what, std::uint64_t item) {
      if (error && error_item <= item) return;
      error = std::move(what);
      error_item = item;
    }
  };

  void work() {
    std::unique_lock lock(mutex_);
    while (!stopping_) {
      const auto open = std::find_if(batches_.begin(), batches_.end(), [](const std::unique_ptr<InMaking>& each) {
        return each->has_begun && each->claimed < each->items;
      });
      if (open != batches_.end()) {
        fill_some(**open, lock);
      } else if (!is_beginning_ && next_begun_ < end_ && next_begun_ - next_taken_ < depth_) {
        begin(lock);
      } else if (next_begun_ == end_ && !is_beginning_) {
        return;
      } else {
        changed_.wait(lock);
      }
    }
  }

  void begin(std::unique_lock<std::mutex>& lock) {
    const std::uint64_t ticket = next_begun_++;
    is_beginning_ = true;
    InMaking& batch = *batches_.emplace_back(std::make_unique<InMaking>());
    batch.ticket = ticket;
    lock.unlock();
    std::uint64_t items = 0;
    try {
      batch.batch.emplace(maker_.begin(ticket));
      items = maker_.items(ticket);
    } catch (...) {
      batch.fail(std::current_exception(), 0);
    }
    lock.lock();
    batch.items = items;
    batch.has_begun = true;
    is_beginning_ = false;
    changed_.notify_all();
  }

  void fill_some(InMaking& batch, std::unique_lock<std::mutex>& lock) {
    // Some at a time, so that small items do not wait for the lock; single ones towards the end.
    constexpr std::uint64_t kMost = 16;
    const std::uint64_t share = (batch.items - batch.claimed) / (4 * workers_);
    const std::uint64_t first = batch.claimed;
    const std::uint64_t end = first + std::clamp<std::uint64_t>(share, 1, kMost);
    batch.claimed = end;
    lock.unlock();
    std::exception_ptr error;
    std::uint64_t item = first;
    try {
      for (; item < end; ++item) maker_.fill(*batch.batch, item);
    } catch (...) {
      error = std::current_exception();
    }
    lock.lock();
    if (error) batch.fail(std::move(error), item);
    batch.finished += end - first;
    if (!batch.is_done()) return;
    // Whoever waits may take the batch away as soon as the lock is free.
    if (maker_.made) maker_.made(batch.ticket, batch.begun);
    changed_.notify_all();
  }

  const std::uint64_t workers_;
  const std::uint64_t depth_;
  std::uint64_t next_begun_;
  std::uint64_t next_taken_;
  const std::uint64_t end_;
  const BatchMaker<Batch> maker_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::unique_ptr<InMaking>> batches_;  // from next_taken_ to next_begun_
  bool is_beginning_ = false;
  bool stopping_ = false;
  std::vector<std::jthread> threads_;  // last: joined before the rest goes
};

}  // namespace cskd::data

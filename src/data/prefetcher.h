// Makes batches ahead on threads and hands them out in order, whichever thread finishes first.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "runtime/check.h"

namespace cskd::data {

template <typename Batch>
class Prefetcher {
 public:
  // make(ticket) is called for tickets first, first + 1, ..., end - 1, each on one of `threads` threads; at most
  // `depth` batches are made or waiting at a time. It must be thread-safe. REQUIRES: threads >= 1, depth >= 1
  Prefetcher(int threads, std::uint64_t depth, std::uint64_t first, std::uint64_t end,
             std::function<Batch(std::uint64_t)> make)
      : depth_(depth), next_made_(first), next_taken_(first), end_(end), make_(std::move(make)) {
    CSKD_CHECK(threads >= 1 && depth >= 1, "{} threads, depth {}", threads, depth);
    for (int i = 0; i < threads; ++i) threads_.emplace_back([this] { work(); });
  }
  // Waits for the batches that are being made.
  ~Prefetcher() {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    changed_.notify_all();
  }
  Prefetcher(const Prefetcher&) = delete;
  Prefetcher& operator=(const Prefetcher&) = delete;

  // The batch of the next ticket. Rethrows what make() threw for it. REQUIRES: called at most end - first times
  Batch next() {
    std::unique_lock lock(mutex_);
    CSKD_CHECK(next_taken_ < end_, "all {} batches were taken", end_);
    changed_.wait(lock, [this] { return done_.contains(next_taken_); });
    const auto made = done_.find(next_taken_);
    Made result = std::move(made->second);
    done_.erase(made);
    ++next_taken_;
    lock.unlock();
    changed_.notify_all();
    if (result.error) std::rethrow_exception(result.error);
    return std::move(*result.batch);
  }

 private:
  struct Made {
    std::optional<Batch> batch;
    std::exception_ptr error;
  };

  void work() {
    for (;;) {
      std::uint64_t ticket = 0;
      {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [this] { return stopping_ || next_made_ == end_ || next_made_ - next_taken_ < depth_; });
        if (stopping_ || next_made_ == end_) return;
        ticket = next_made_++;
      }
      Made made;
      try {
        made.batch.emplace(make_(ticket));
      } catch (...) {
        made.error = std::current_exception();
      }
      {
        const std::lock_guard lock(mutex_);
        done_.emplace(ticket, std::move(made));
      }
      changed_.notify_all();
    }
  }

  const std::uint64_t depth_;
  std::uint64_t next_made_;
  std::uint64_t next_taken_;
  const std::uint64_t end_;
  std::function<Batch(std::uint64_t)> make_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::uint64_t, Made> done_;
  bool stopping_ = false;
  std::vector<std::jthread> threads_;  // last: joined before the rest goes
};

}  // namespace cskd::data

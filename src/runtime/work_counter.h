// Hands out work to ranks as they ask: a counter in rank 0's memory that every rank reads and raises by one-sided MPI.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>

#include "runtime/world.h"

namespace cskd::runtime {

class WorkCounter {
 public:
  // Items 0..total-1. Collective.
  WorkCounter(World& world, std::int64_t total);
  // Collective, unless the job is being aborted.
  ~WorkCounter();
  WorkCounter(const WorkCounter&) = delete;
  WorkCounter& operator=(const WorkCounter&) = delete;

  // The next item, handed to exactly one caller of the job; `total` or more when none is left. Any thread.
  std::int64_t next();

 private:
  struct Window;
  std::unique_ptr<Window> window_;
  std::mutex mutex_;
};

}  // namespace cskd::runtime

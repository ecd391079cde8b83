// A bound on the memory of tensors.
#pragma once

#include <cstdint>
#include <mutex>

namespace cskd::models {

// While it lives, tensors that are made in main memory, by any thread, may hold so many bytes together: what goes
// beyond throws c10::Error, and is not allocated. Tensors may outlive it. One at a time; a second waits for the first.
class MemoryLimit {
 public:
  explicit MemoryLimit(std::uint64_t bytes);
  ~MemoryLimit();
  MemoryLimit(const MemoryLimit&) = delete;
  MemoryLimit& operator=(const MemoryLimit&) = delete;

 private:
  std::unique_lock<std::mutex> alone_;
};

}  // namespace cskd::models

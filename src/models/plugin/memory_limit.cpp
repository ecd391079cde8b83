#include "models/plugin/memory_limit.h"

#include <cstring>
#include <limits>
#include <unordered_map>

#include <c10/core/CPUAllocator.h>
#include <c10/util/Exception.h>

#include "runtime/free_space.h"

namespace cskd::models {
namespace {

constexpr std::uint64_t kNoLimit = std::numeric_limits<std::uint64_t>::max();

// PyTorch's own allocator, with a count. Storages keep a pointer to the allocator that made them and use it again when
// they grow, so that this one lives as long as the program.
class CountingAllocator final : public c10::Allocator {
 public:
  void start(std::uint64_t limit, c10::Allocator* usual) {
    const std::lock_guard lock(mutex_);
    limit_ = limit;
    usual_ = usual;
  }
  c10::Allocator* usual() const { return usual_; }

  c10::DataPtr allocate(std::size_t bytes) override {
    const std::lock_guard lock(mutex_);
    if (bytes > limit_ || used_ > limit_ - bytes)
      C10_THROW_ERROR(Error, "it needs more than " + runtime::format_bytes(limit_) + " of memory");
    void* const memory = usual_->raw_allocate(bytes);
    if (memory != nullptr) {
      used_ += bytes;
      bytes_of_.emplace(memory, bytes);
    }
    return {memory, memory, &free_counted, c10::Device(c10::kCPU)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &free_counted; }

  void copy_data(void* target, const void* source, std::size_t bytes) const override {
    std::memcpy(target, source, bytes);
  }

 private:
  static void free_counted(void* memory);

  std::mutex mutex_;
  std::uint64_t limit_ = kNoLimit;
  std::uint64_t used_ = 0;
  std::unordered_map<void*, std::size_t> bytes_of_;
  c10::Allocator* usual_ = nullptr;
};

CountingAllocator& counting_allocator() {
  static auto* const allocator = new CountingAllocator;
  return *allocator;
}

void CountingAllocator::free_counted(void* memory) {
  if (memory == nullptr) return;
  CountingAllocator& self = counting_allocator();
  {
    const std::lock_guard lock(self.mutex_);
    const auto found = self.bytes_of_.find(memory);
    self.used_ -= found->second;
    self.bytes_of_.erase(found);
  }
  self.usual_->raw_deallocate(memory);
}

std::mutex& one_at_a_time() {
  static std::mutex mutex;
  return mutex;
}

}  // namespace

MemoryLimit::MemoryLimit(std::uint64_t bytes) : alone_(one_at_a_time()) {
  counting_allocator().start(bytes, c10::GetCPUAllocator());
  c10::SetCPUAllocator(&counting_allocator());
}

MemoryLimit::~MemoryLimit() {
  c10::Allocator* const usual = counting_allocator().usual();
  c10::SetCPUAllocator(usual);
  counting_allocator().start(kNoLimit, usual);
}

}  // namespace cskd::models

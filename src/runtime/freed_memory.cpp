#include "runtime/freed_memory.h"

#include <limits>

#include <malloc.h>

namespace cskd::runtime {
namespace {

constexpr int kLargestKeptBlock = 32 << 20;  // mallopt takes no more

}  // namespace

void keep_freed_memory() {
  mallopt(M_MMAP_THRESHOLD, kLargestKeptBlock);
  mallopt(M_TRIM_THRESHOLD, std::numeric_limits<int>::max());
}

}  // namespace cskd::runtime

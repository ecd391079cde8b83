#include "bench/resident_memory.h"

#include <fstream>

#include <unistd.h>

#include "runtime/error.h"

namespace cskd::bench {

std::uint64_t resident_bytes() {
  std::ifstream file("/proc/self/statm");
  std::uint64_t total = 0;
  std::uint64_t resident = 0;
  if (!(file >> total >> resident)) throw runtime::Error("cannot read /proc/self/statm");
  return resident * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

}  // namespace cskd::bench

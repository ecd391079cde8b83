#include "bench/resident_memory.h"

#include <cerrno>
#include <fstream>

#include <sys/resource.h>
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

std::uint64_t peak_resident_bytes() {
  rusage usage{};
  if (::getrusage(RUSAGE_SELF, &usage) != 0) runtime::throw_system_error("cannot ask for this process's memory", errno);
  constexpr std::uint64_t kUnit = 1024;  // of ru_maxrss on Linux
  return static_cast<std::uint64_t>(usage.ru_maxrss) * kUnit;
}

}  // namespace cskd::bench

#include "bench/resident_memory.h"

#include <fstream>
#include <string>

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
  // Not getrusage(), which counts what the process was before it became this program.
  std::ifstream file("/proc/self/status");
  for (std::string word; file >> word;) {
    std::uint64_t kilobytes = 0;
    if (word == "VmHWM:" && file >> kilobytes) return kilobytes * 1024;
  }
  throw runtime::Error("/proc/self/status does not say VmHWM");
}

}  // namespace cskd::bench

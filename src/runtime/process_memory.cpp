#include "runtime/process_memory.h"

#include <fstream>
#include <string>

namespace cskd::runtime {
namespace {

// "VmHWM:     1234 kB" of /proc/self/status (proc(5)).
std::uint64_t field(const std::string& name) {
  std::ifstream file("/proc/self/status");
  for (std::string word; file >> word;) {
    std::uint64_t kibibytes = 0;
    if (word == name && file >> kibibytes) return kibibytes * 1024;
  }
  return 0;
}

}  // namespace

std::uint64_t reset_peak_memory() {
  std::ofstream("/proc/self/clear_refs") << "5";
  return field("VmRSS:");
}

std::uint64_t peak_memory() { return field("VmHWM:"); }

}  // namespace cskd::runtime

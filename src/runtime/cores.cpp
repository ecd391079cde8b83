#include "runtime/cores.h"

#include <sched.h>

namespace cskd::runtime {

std::vector<int> usable_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  std::vector<int> cores;
  if (::sched_getaffinity(0, sizeof(set), &set) == 0) {
    for (int core = 0; core < CPU_SETSIZE; ++core) {
      if (CPU_ISSET(core, &set)) cores.push_back(core);
    }
  }
  // Machines with more than CPU_SETSIZE cores refuse the question; one core there is certain.
  if (cores.empty()) cores.push_back(0);
  return cores;
}

}  // namespace cskd::runtime

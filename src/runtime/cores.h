// The processor cores that this process may use: fewer than the machine has where a launcher or a container bound it.
#pragma once

#include <vector>

namespace cskd::runtime {

// Their numbers, sorted; never empty.
std::vector<int> usable_cores();

}  // namespace cskd::runtime

// All-reduces whose results are known beforehand.
#pragma once

#include <chrono>
#include <string>

#include "runtime/world.h"

namespace cskd::distributed {

// Sums and maxima of whole numbers and of real ones that are exact in any order, small and large, by the communicator
// that a training would have. What is wrong with this rank's results; empty when nothing is. GPUs that cannot be shared
// out are no matter of this: the sums are then not tried. Collective. Throws as Communicator.
std::string check_all_reduce(runtime::World& world, std::chrono::milliseconds timeout);

}  // namespace cskd::distributed

// The world of tests that several ranks run; main() lies in world_main.cpp.
#pragma once

#include "runtime/world.h"

namespace cskd::tests {

// Of this process, from the first test on.
inline runtime::World* world = nullptr;

}  // namespace cskd::tests

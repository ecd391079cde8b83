// The world of a test program that starts MPI, and its main().
#pragma once

#include <gtest/gtest.h>

#include "runtime/world.h"

namespace cskd::runtime {

inline World* world = nullptr;

inline int run_tests_in_world(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  World the_world(&argc, &argv);
  world = &the_world;
  return RUN_ALL_TESTS();
}

}  // namespace cskd::runtime

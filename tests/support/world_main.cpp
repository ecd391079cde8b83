#include "tests/support/world_main.h"

#include <gtest/gtest.h>

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  cskd::runtime::World world(&argc, &argv);
  cskd::tests::world = &world;
  return RUN_ALL_TESTS();
}

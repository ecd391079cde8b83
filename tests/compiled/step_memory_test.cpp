// Places of maps: none overlaps another that is needed at the same time, and the block is no larger than it has to be.
#include "compiled/step_memory.h"

#include <algorithm>
#include <cstring>

#include <gtest/gtest.h>

namespace cskd::compiled {
namespace {

constexpr std::size_t kExtra = 128;  // behind each map

TEST(StepMemory, SharesPlacesOfMapsThatAreNotNeededAtTheSameTime) {
  // A chain: each map is read by the step that writes the next.
  std::vector<StepMemory::Map> chain;
  for (std::size_t i = 0; i < 10; ++i) chain.push_back({.numbers = 1000, .first = i, .last = i + 1});
  StepMemory memory(chain);
  memory.reserve(4);
  EXPECT_GE(memory.bytes(), 2 * 4 * 1000 * sizeof(float));
  EXPECT_LE(memory.bytes(), 2 * (4 * 1000 * sizeof(float) + kExtra + 64));
  EXPECT_EQ(memory.at(0), memory.at(2));
}

TEST(StepMemory, KeepsMapsApartThatAreNeededAtTheSameTime) {
  // The first is a shortcut around the others, of all sizes.
  std::vector<StepMemory::Map> maps{{.numbers = 700, .first = 0, .last = 9}};
  for (std::size_t i = 0; i < 9; ++i) maps.push_back({.numbers = 100 + 37 * (i % 4) * i, .first = i, .last = i + 1});
  StepMemory memory(maps);
  for (const std::size_t images : {std::size_t{3}, std::size_t{1}, std::size_t{5}}) {
    memory.reserve(images);
    for (std::size_t a = 0; a < maps.size(); ++a) {
      EXPECT_EQ(reinterpret_cast<std::uintptr_t>(memory.at(a)) % 64, 0U);
      std::memset(memory.at(a), 1, images * maps[a].numbers * sizeof(float) + kExtra);
      for (std::size_t b = 0; b < a; ++b) {
        if (maps[a].first > maps[b].last || maps[b].first > maps[a].last) continue;
        const float* const end_a = memory.at(a) + images * maps[a].numbers;
        const float* const end_b = memory.at(b) + images * maps[b].numbers;
        EXPECT_TRUE(end_a <= memory.at(b) || end_b <= memory.at(a)) << a << " and " << b;
      }
    }
  }
}

}  // namespace
}  // namespace cskd::compiled

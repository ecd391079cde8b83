// One thing that is wrong with a job, and what must be found.
#pragma once

#include <functional>
#include <ostream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/doctor/healthy_world.h"

namespace cskd::doctor {

struct Trouble {
  const char* name;
  std::function<void(WorldFacts&)> make;
  const char* check;
  Verdict verdict;
  const char* found;   // a part of what the check says
  const char* remedy;  // likewise
};

inline void PrintTo(const Trouble& trouble, std::ostream* out) { *out << trouble.name; }

// Spoils `world`, and expects that the check says so.
inline void expect_found(WorldFacts world, const Trouble& trouble) {
  trouble.make(world);
  const Check check = find(world, trouble.check);
  EXPECT_EQ(check.verdict, trouble.verdict);
  EXPECT_THAT(check.found, testing::HasSubstr(trouble.found));
  EXPECT_THAT(check.remedy, testing::HasSubstr(trouble.remedy));
}

}  // namespace cskd::doctor

#include "runtime/philox.h"

#include <array>
#include <cmath>
#include <map>
#include <vector>

#include <gtest/gtest.h>

namespace cskd::runtime {
namespace {

// The known answers published with the generator (Random123, tests/kat_vectors, "philox4x32 10").
TEST(Philox, GivesThePublishedKnownAnswers) {
  EXPECT_EQ(philox4x32_10({0, 0, 0, 0}, {0, 0}), (PhiloxCounter{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox4x32_10({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}),
            (PhiloxCounter{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox4x32_10({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (PhiloxCounter{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Philox, IsAFunctionOfSeedStreamAndItemOnly) {
  Philox a(7, 1, 42);
  Philox b(7, 1, 42);
  for (int i = 0; i < 1000; ++i) ASSERT_EQ(a(), b());
}

TEST(Philox, DiffersWhenSeedStreamOrItemDiffer) {
  const std::uint64_t base = Philox(7, 1, 42).bits64();
  EXPECT_NE(base, Philox(8, 1, 42).bits64());
  EXPECT_NE(base, Philox(7 + (std::uint64_t{1} << 32), 1, 42).bits64());
  EXPECT_NE(base, Philox(7, 2, 42).bits64());
  EXPECT_NE(base, Philox(7, 1, 43).bits64());
  EXPECT_NE(base, Philox(7, 1, 42 + (std::uint64_t{1} << 32)).bits64());
}

TEST(Philox, BelowIsUniformAndNeverReachesItsBound) {
  Philox random(1, 0, 0);
  constexpr int kDraws = 60000;
  std::array<int, 6> counts{};
  for (int i = 0; i < kDraws; ++i) ++counts.at(random.below(6));
  double chi_squared = 0;
  for (const int count : counts) chi_squared += (count - kDraws / 6.0) * (count - kDraws / 6.0) / (kDraws / 6.0);
  EXPECT_LT(chi_squared, 20.5);  // 5 degrees of freedom: exceeded by chance once in 1,000 seeds
  for (int i = 0; i < 100; ++i) EXPECT_EQ(random.below(1), 0U);
}

TEST(Philox, UniformHasTheMomentsOfTheUnitInterval) {
  Philox random(2, 0, 0);
  constexpr int kDraws = 100000;
  double sum = 0;
  double squares = 0;
  for (int i = 0; i < kDraws; ++i) {
    const double u = random.uniform();
    ASSERT_GE(u, 0.0);
    ASSERT_LT(u, 1.0);
    sum += u;
    squares += u * u;
  }
  EXPECT_NEAR(sum / kDraws, 0.5, 0.004);
  EXPECT_NEAR(squares / kDraws, 1.0 / 3, 0.004);
}

TEST(Philox, NormalHasTheMomentsOfTheStandardNormal) {
  Philox random(3, 0, 0);
  constexpr int kDraws = 100000;
  double sum = 0;
  double squares = 0;
  double fourths = 0;
  for (int i = 0; i < kDraws; ++i) {
    const double x = random.normal();
    sum += x;
    squares += x * x;
    fourths += x * x * x * x;
  }
  EXPECT_NEAR(sum / kDraws, 0.0, 0.015);
  EXPECT_NEAR(squares / kDraws, 1.0, 0.02);
  EXPECT_NEAR(fourths / kDraws, 3.0, 0.15);
}

}  // namespace
}  // namespace cskd::runtime

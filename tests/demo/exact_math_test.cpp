#include "demo/exact_math.h"

#include <cmath>
#include <numbers>

#include <gtest/gtest.h>

#include "demo/colour.h"
#include "demo/noise.h"

namespace cskd::demo {
namespace {

// The C library in double precision is the reference.
TEST(ExactMath, SineAgreesWithTheLibrary) {
  for (int i = -4000; i <= 4000; ++i) {
    const float x = static_cast<float>(i) / 777;
    EXPECT_NEAR(sine_of_turns(x), std::sin(2 * std::numbers::pi * static_cast<double>(x)), 4e-6) << x;
  }
}

TEST(ExactMath, BellAgreesWithTheLibrary) {
  for (int i = -700; i <= 700; ++i) EXPECT_NEAR(bell(i / 100.0), std::exp(-(i / 100.0) * (i / 100.0)), 1e-4) << i;
}

TEST(ExactMath, PowerOfTwoAgreesWithTheLibrary) {
  for (int i = -800; i <= 800; ++i) {
    const float x = static_cast<float>(i) / 100;
    EXPECT_NEAR(power_of_two(x) / std::exp2(static_cast<double>(x)), 1, 2e-6) << x;
  }
}

TEST(ExactMath, FloorAgreesWithTheLibrary) {
  for (const float x : {-2.5F, -2.0F, -0.1F, 0.0F, 0.1F, 1.0F, 7.9F, -1e6F}) EXPECT_EQ(floor_exact(x), std::floor(x));
}

TEST(Colour, HuesAreWhereTheyBelong) {
  const Colour red = from_hsv(0, 1, 1);
  EXPECT_NEAR(red.r, 1, 1e-6);
  EXPECT_NEAR(red.g + red.b, 0, 1e-6);
  const Colour yellow = from_hsv(60, 1, 1);
  EXPECT_NEAR(yellow.r + yellow.g, 2, 1e-5);
  EXPECT_NEAR(yellow.b, 0, 1e-5);
  const Colour blue = from_hsv(-120, 1, 0.5F);
  EXPECT_NEAR(blue.b, 0.5, 1e-5);
  EXPECT_NEAR(blue.r + blue.g, 0, 1e-5);
  const Colour grey = from_hsv(123, 0, 0.4F);
  EXPECT_NEAR(grey.r, 0.4, 1e-6);
  EXPECT_NEAR(grey.b, 0.4, 1e-6);
}

TEST(Colour, HueDistanceGoesTheShortWay) {
  EXPECT_NEAR(hue_distance(350, 10), 20, 1e-3);
  EXPECT_NEAR(hue_distance(10, 350), 20, 1e-3);
  EXPECT_NEAR(hue_distance(-90, 90), 180, 1e-3);
  EXPECT_NEAR(hue_distance(725, 5), 0, 1e-3);
}

TEST(Noise, IsSmoothAndUniform) {
  double sum = 0;
  for (int y = 0; y < 100; ++y) {
    for (int x = 0; x < 100; ++x) {
      const float fx = static_cast<float>(x) * 0.37F;
      const float fy = static_cast<float>(y) * 0.53F;
      const float value = value_noise(fx, fy, 5);
      ASSERT_GE(value, 0);
      ASSERT_LT(value, 1);
      EXPECT_LT(std::abs(value_noise(fx + 0.001F, fy, 5) - value), 0.01F);
      sum += value;
    }
  }
  EXPECT_NEAR(sum / 10'000, 0.5, 0.05);
}

}  // namespace
}  // namespace cskd::demo

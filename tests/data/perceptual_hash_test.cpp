#include "data/perceptual_hash.h"

#include <bit>
#include <cmath>
#include <numbers>

#include <gtest/gtest.h>

#include "data/decode.h"
#include "data/resize.h"
#include "tests/data/decode_pictures.h"

namespace cskd::data {
namespace {

int distance(std::uint64_t a, std::uint64_t b) { return std::popcount(a ^ b); }

// Broad waves, as photos have them.
Image waves(int width, int height, int seed) {
  Image image = tests::blank(width, height, 0);
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      double value = 0;
      for (int k = 1; k <= 4; ++k) {
        const double phase = seed * (1.7 + k);
        value += std::sin(phase + 6.0 * (x * std::cos(phase) / width + y * std::sin(2 * phase) / height) * k) / k;
      }
      for (int c = 0; c < 3; ++c) image.row(y)[3 * x + c] = static_cast<std::uint8_t>(127 + 60 * value / (1 + 0.2 * c));
    }
  }
  return image;
}

TEST(PerceptualHash, CopiesAtAnotherSizeOrQualityAreNear) {
  for (int seed = 0; seed < 20; ++seed) {
    const Image image = waves(400, 300, seed);
    const std::uint64_t hash = perceptual_hash(image);
    EXPECT_LE(distance(hash, perceptual_hash(resize(image, {0, 0, 400, 300}, 170, 200, Filter::kBicubic))), 6) << seed;
    EXPECT_LE(distance(hash, perceptual_hash(decode(tests::bytes_of(tests::jpeg(image, {}))))), 6) << seed;
  }
}

TEST(PerceptualHash, OtherPicturesAreFar) {
  for (int seed = 0; seed < 20; ++seed) {
    EXPECT_GE(distance(perceptual_hash(waves(400, 300, seed)), perceptual_hash(waves(400, 300, seed + 1))), 12) << seed;
  }
}

TEST(PerceptualHash, OneColourHasNoFrequencyAboveTheMedian) {
  EXPECT_EQ(perceptual_hash(tests::blank(50, 40, 0)), 0);
  EXPECT_EQ(perceptual_hash(tests::blank(50, 40, 1)), 1);
  EXPECT_EQ(perceptual_hash(tests::blank(50, 40, 255)), 1);
}

// A picture of one cosine has one coefficient that is not about zero: bit 8 v + u.
TEST(PerceptualHash, BitsCountFrequenciesRowByRow) {
  for (const auto& [u, v] : {std::pair(3, 0), std::pair(0, 5), std::pair(2, 6)}) {
    Image image = tests::blank(32, 32, 0);
    Image negative = image;
    for (int y = 0; y < 32; ++y) {
      for (int x = 0; x < 32; ++x) {
        const double wave =
            std::cos(std::numbers::pi * u * (2 * x + 1) / 64) * std::cos(std::numbers::pi * v * (2 * y + 1) / 64);
        for (int c = 0; c < 3; ++c) {
          image.row(y)[3 * x + c] = static_cast<std::uint8_t>(std::lround(128 + 100 * wave));
          negative.row(y)[3 * x + c] = static_cast<std::uint8_t>(std::lround(128 - 100 * wave));
        }
      }
    }
    const std::uint64_t bit = std::uint64_t{1} << (8 * v + u);
    EXPECT_NE(perceptual_hash(image) & bit, 0);
    EXPECT_EQ(perceptual_hash(negative) & bit, 0);
  }
}

}  // namespace
}  // namespace cskd::data

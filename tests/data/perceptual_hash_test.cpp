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

// Thumbnails are means: of a picture of 8 x 8 areas of one colour each, those colours.
TEST(Look, ThumbnailsAreMeansAtAnySize) {
  for (const int scale : {1, 4, 12, 50}) {
    Image image = tests::blank(8 * 4 * scale, 8 * 3 * scale, 0);
    shards::Thumbnail expected{};
    for (int y = 0; y < image.height; ++y) {
      for (int x = 0; x < image.width; ++x) {
        const int cell = 8 * (y / (3 * scale)) + x / (4 * scale);
        for (int c = 0; c < 3; ++c) {
          std::uint8_t& level = *(expected.begin() + 3 * cell + c);
          level = static_cast<std::uint8_t>(40 + cell * (c + 1));
          image.row(y)[3 * x + c] = level;
        }
      }
    }
    const shards::Thumbnail found = appearance_of(image).thumbnail;
    for (std::size_t i = 0; i < found.size(); ++i)
      EXPECT_NEAR(found[i], expected[i], scale == 1 ? 8 : 4) << scale << " " << i;
  }
}

TEST(Look, OddSizesLookLikeEvenOnes) {
  const Appearance whole = appearance_of(waves(900, 600, 3));
  for (const auto& [width, height] : {std::pair(899, 601), std::pair(193, 197), std::pair(2003, 1999)}) {
    const Appearance odd = appearance_of(resize(waves(900, 600, 3), {0, 0, 900, 600}, width, height, Filter::kBicubic));
    EXPECT_LE(distance(whole.hash, odd.hash), 4) << width;
    EXPECT_TRUE(are_alike(whole.thumbnail, odd.thumbnail)) << width;
  }
  EXPECT_FALSE(are_alike(whole.thumbnail, appearance_of(waves(900, 600, 4)).thumbnail));
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

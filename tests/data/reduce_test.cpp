#include "data/reduce.h"

#include <random>

#include <gtest/gtest.h>

namespace cskd::data {
namespace {

// Square by square, with a division.
Image one_by_one(const Image& image, int factor) {
  Image reduced{(image.width + factor - 1) / factor, (image.height + factor - 1) / factor, {}};
  for (int y = 0; y < image.height; y += factor) {
    for (int x = 0; x < image.width; x += factor) {
      for (int channel = 0; channel < 3; ++channel) {
        int sum = 0;
        int count = 0;
        for (int j = y; j < std::min(y + factor, image.height); ++j) {
          for (int i = x; i < std::min(x + factor, image.width); ++i, ++count) sum += image.row(j)[3 * i + channel];
        }
        reduced.rgb.push_back(static_cast<std::uint8_t>((sum + count / 2) / count));
      }
    }
  }
  return reduced;
}

TEST(Reduce, EqualsMeansSquareBySquare) {
  std::mt19937 random(5);
  for (int round = 0; round < 300; ++round) {
    const int most = round < 150 ? 40 : 400;
    Image image{1 + static_cast<int>(random() % most), 1 + static_cast<int>(random() % most), {}};
    for (int i = 0; i < 3 * image.width * image.height; ++i)
      image.rgb.push_back(static_cast<std::uint8_t>(round % 5 == 0 ? 255 : random()));
    const int factor = 1 + round % kMostReduction;
    const Image reduced = reduce(image, factor);
    const Image expected = one_by_one(image, factor);
    ASSERT_EQ(reduced.width, expected.width);
    ASSERT_EQ(reduced.height, expected.height);
    ASSERT_EQ(reduced.rgb, expected.rgb) << image.width << " x " << image.height << " by " << factor;
  }
}

}  // namespace
}  // namespace cskd::data

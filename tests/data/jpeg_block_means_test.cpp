#include "data/jpeg_block_means.h"

#include <algorithm>
#include <cmath>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "data/decode.h"
#include "data/jpeg_layout.h"
#include "runtime/error.h"
#include "tests/data/decode_pictures.h"

namespace cskd::data {
namespace {

std::optional<BlockMeans> means_of(const std::string& file, int rows = 1 << 16) {
  return decode_block_means(tests::bytes_of(file), read_image_header(tests::bytes_of(file)), rows, ColourDetail::kHalf,
                            PixelLayout::kRgb);
}

// Mean of the pixels of a block, of one channel.
double mean_of_block(const Image& image, int x, int y, int channel) {
  double sum = 0;
  int count = 0;
  for (int row = 8 * y; row < std::min(image.height, 8 * y + 8); ++row) {
    for (int column = 8 * x; column < std::min(image.width, 8 * x + 8); ++column) {
      sum += tests::pixel(image, column, row)[channel];
      ++count;
    }
  }
  return sum / count;
}

// Smooth, so that no pixel is cut off at 0 or 255 and colours change little from block to block.
Image slope(int width, int height) {
  Image image = tests::blank(width, height, 0);
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      std::uint8_t* const to = image.row(y) + std::ptrdiff_t{3} * x;
      to[0] = static_cast<std::uint8_t>(60 + 100 * x / width);
      to[1] = static_cast<std::uint8_t>(90 + 80 * y / height);
      to[2] = static_cast<std::uint8_t>(180 - 60 * x / width);
    }
  }
  return image;
}

TEST(BlockMeans, AreTheMeansOfTheDecodedPixels) {
  for (const int components : {1, 3}) {
    for (const auto& [across, down] : {std::pair(1, 1), std::pair(2, 1), std::pair(1, 2), std::pair(2, 2)}) {
      for (const unsigned interval : {0U, 7U}) {
        const std::string file = tests::jpeg(
            slope(400, 320),
            {.components = components, .horizontal = across, .vertical = down, .restart_interval = interval});
        const Image whole = decode(tests::bytes_of(file));
        const auto means = means_of(file);
        ASSERT_TRUE(means) << components << " components, " << across << " x " << down;
        ASSERT_EQ(means->width, 50);
        ASSERT_EQ(means->height, 40);
        for (int y = 0; y < means->height; ++y) {
          for (int x = 0; x < means->width; ++x) {
            for (int channel = 0; channel < 3; ++channel) {
              const int found = means->pixels[static_cast<std::size_t>(3 * (y * means->width + x) + channel)];
              ASSERT_NEAR(found, mean_of_block(whole, x, y, channel), 4) << x << ", " << y << ", " << channel;
            }
          }
        }
      }
    }
  }
}

TEST(BlockMeans, OfTheFirstRowsAreThoseOfAll) {
  for (const int down : {1, 2}) {
    const std::string file = tests::jpeg(tests::scene(333, 257), {.horizontal = 2, .vertical = down});
    const auto all = means_of(file);
    ASSERT_TRUE(all);
    for (const int rows : {1, 2, 3, 16, 32, 33}) {
      const auto some = means_of(file, rows);
      ASSERT_TRUE(some);
      const std::ptrdiff_t bytes = std::ptrdiff_t{3} * rows * all->width;
      EXPECT_TRUE(std::equal(some->pixels.begin(), some->pixels.begin() + bytes, all->pixels.begin())) << rows;
    }
  }
}

TEST(BlockMeans, LeaveOtherFilesToLibjpeg) {
  const Image image = tests::scene(100, 80);
  EXPECT_TRUE(means_of(tests::jpeg(image, {})));
  EXPECT_FALSE(means_of(tests::jpeg(image, {.progressive = true})));
  EXPECT_FALSE(means_of(tests::jpeg(image, {.arithmetic = true})));
  EXPECT_FALSE(means_of(tests::jpeg(image, {.scan_for_each = true})));
  EXPECT_FALSE(means_of(tests::jpeg(image, {.components = 4})));
  EXPECT_TRUE(means_of(tests::jpeg(image, {.orientation = 6})));
  const auto in_full = [](const std::string& file) {
    return decode_block_means(tests::bytes_of(file), read_image_header(tests::bytes_of(file)), 10, ColourDetail::kFull,
                              PixelLayout::kRgb);
  };
  EXPECT_FALSE(in_full(tests::jpeg(image, {})));
  EXPECT_TRUE(in_full(tests::jpeg(image, {.horizontal = 1, .vertical = 1})));
}

TEST(BlockMeans, EndWithTheirData) {
  const std::string file = tests::jpeg(tests::scene(200, 160), {.restart_interval = 5});
  for (std::size_t size = 0; size < file.size(); size += 1 + size / 50) {
    const std::string part = file.substr(0, size);
    const ImageHeader header{.stored_width = 200, .stored_height = 160};
    EXPECT_FALSE(decode_block_means(tests::bytes_of(part), header, 20, ColourDetail::kHalf, PixelLayout::kRgb)) << size;
  }
  std::string other = file;
  other.insert(other.size() - 2, "\x12\x34");
  EXPECT_FALSE(means_of(other));
}

// What is taken for sound here is sound for libjpeg, which sees all coefficients.
TEST(BlockMeans, TakeNoDamagedFileForASoundOne) {
  std::mt19937 random(7);
  int sound = 0;
  int damaged = 0;
  for (const unsigned interval : {0U, 5U}) {
    const std::string file = tests::jpeg(tests::scene(160, 120), {.restart_interval = interval});
    const ImageHeader header{.stored_width = 160, .stored_height = 120};
    for (int i = 0; i < 3000; ++i) {
      std::string changed = file;
      for (unsigned change = 0; change <= random() % 3; ++change)
        changed[2 + random() % (changed.size() - 2)] = static_cast<char>(random());
      const auto means =
          decode_block_means(tests::bytes_of(changed), header, 15, ColourDetail::kHalf, PixelLayout::kRgbx);
      ++(means ? sound : damaged);
      if (!means) continue;
      EXPECT_NO_THROW(decode_jpeg(tests::bytes_of(changed), header, {0, 0, 160, 120})) << i;
    }
  }
  EXPECT_GT(sound, 300);
  EXPECT_GT(damaged, 300);
}

}  // namespace
}  // namespace cskd::data

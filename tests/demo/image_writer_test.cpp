#include "demo/image_writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace cskd::demo {
namespace {

// Every pixel different: red counts columns, green rows.
Picture numbered(int width, int height) {
  Picture picture{width, height, {}};
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      picture.rgb.insert(picture.rgb.end(), {static_cast<std::uint8_t>(x), static_cast<std::uint8_t>(y), 7});
    }
  }
  return picture;
}

int red(const Picture& picture, int x, int y) { return picture.row(y)[static_cast<size_t>(x) * 3]; }
int green(const Picture& picture, int x, int y) { return picture.row(y)[static_cast<size_t>(x) * 3 + 1]; }

TEST(ImageWriter, FilesAreTheSameEveryTimeAndBeginAsTheirFormatDoes) {
  const Picture picture = numbered(40, 30);
  EXPECT_EQ(encode_jpeg(picture, {}), encode_jpeg(picture, {}));
  EXPECT_EQ(encode_png(picture), encode_png(picture));
  EXPECT_EQ(encode_webp(picture, 80), encode_webp(picture, 80));
  EXPECT_THAT(encode_jpeg(picture, {}), testing::StartsWith("\xFF\xD8\xFF"));
  EXPECT_THAT(encode_png(picture), testing::StartsWith("\x89PNG\r\n\x1a\n"));
  EXPECT_THAT(encode_webp(picture, 80), testing::StartsWith("RIFF"));
}

// EXIF 2.3, table of tag 0x0112: where row 0 and column 0 of the file are seen.
TEST(ImageWriter, OrientationPutsRowAndColumnZeroWhereTheStandardSays) {
  const int w = 5;
  const int h = 3;
  const Picture upright = numbered(w, h);
  struct Case {
    int orientation;
    int row_zero_side;  // 0 top, 1 right, 2 bottom, 3 left
    int column_zero_side;
  };
  for (const auto& [orientation, row_side, column_side] :
       {Case{1, 0, 3}, Case{2, 0, 1}, Case{3, 2, 1}, Case{4, 2, 3}, Case{5, 3, 0}, Case{6, 1, 0}, Case{7, 1, 2},
        Case{8, 3, 2}}) {
    const Picture stored = stored_for_orientation(upright, orientation);
    EXPECT_EQ(stored.width, orientation < 5 ? w : h);
    const auto on_side = [&](int x, int y, int side) {  // of the upright picture
      return side == 0 ? y == 0 : side == 1 ? x == w - 1 : side == 2 ? y == h - 1 : x == 0;
    };
    for (int x = 0; x < stored.width; ++x) {
      EXPECT_TRUE(on_side(red(stored, x, 0), green(stored, x, 0), row_side)) << orientation;
    }
    for (int y = 0; y < stored.height; ++y) {
      EXPECT_TRUE(on_side(red(stored, 0, y), green(stored, 0, y), column_side)) << orientation;
    }
  }
}

TEST(ImageWriter, ShrinkingKeepsTheMeanAndTheSize) {
  Picture picture = numbered(60, 40);
  const Picture half = shrink(picture, 0.5);
  EXPECT_EQ(half.width, 30);
  EXPECT_EQ(half.height, 20);
  EXPECT_EQ(red(half, 0, 0), 1);  // mean of 0 and 1, rounded
  EXPECT_EQ(red(half, 29, 0), 59);
  const Picture odd = shrink(picture, 0.7);
  EXPECT_EQ(odd.width, 42);
  double sum = 0;
  for (size_t i = 0; i < odd.rgb.size(); i += 3) sum += odd.rgb[i];
  EXPECT_NEAR(3 * sum / static_cast<double>(odd.rgb.size()), 29.5, 0.5);
  EXPECT_EQ(shrink(picture, 1).rgb, picture.rgb);
}

}  // namespace
}  // namespace cskd::demo

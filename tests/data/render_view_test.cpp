// Every parameter of a view counts, in its order. The parts it is composed of are compared with Pillow in
// pixels_test.py.
#include "data/render_view.h"

#include <algorithm>
#include <cstdlib>
#include <vector>

#include <gtest/gtest.h>

#include "data/decode.h"
#include "data/jpeg_decoder.h"
#include "data/recompress.h"
#include "tests/data/decode_pictures.h"

namespace cskd::data {
namespace {

constexpr int kSide = 64;
const Image kScene = tests::scene(120, 90);

std::vector<std::uint8_t> rendered(const std::string& file, const View& view, ResizeMode mode) {
  std::vector<std::uint8_t> pixels(std::size_t{3} * kSide * kSide);
  render_view(tests::bytes_of(file), view, kSide, mode, pixels);
  return pixels;
}

std::vector<std::uint8_t> rendered(const View& view) {
  static const std::string file = tests::png(kScene);
  return rendered(file, view, ResizeMode::kExact);
}

Image cut(const Box& box) { return resize(kScene, box, kSide, kSide, kViewFilter); }

TEST(RenderView, CutsMirrorsAndPresses) {
  const View view{.box = {10, 20, 80, 60}, .flip = true, .jpeg_quality = 70};
  // A box cut out first shows nothing of what lies around it, and so differs at its rim from a resize within the whole.
  Image part{80, 60, {}};
  for (int y = 0; y < 60; ++y) part.rgb.insert(part.rgb.end(), kScene.row(20 + y) + 30, kScene.row(20 + y) + 270);
  Image expected = resize(part, {0, 0, 80, 60}, kSide, kSide, kViewFilter);
  tests::flip_horizontally(expected);
  const Image unpressed = expected;
  recompress(expected, 70);
  EXPECT_EQ(rendered(view), expected.rgb);
  EXPECT_NE(expected.rgb, unpressed.rgb);
  EXPECT_EQ(rendered({.box = view.box, .flip = true}), unpressed.rgb);
}

// JPEG is resized while it is decoded, other pictures and turned ones afterwards: the pixels are those of a crop that
// is resized.
TEST(RenderView, ResizesRowsAsTheyComeAsItResizesTheWhole) {
  for (const auto& [width, height] : {std::pair(9, 7), {64, 64}, {151, 77}, {500, 375}, {375, 501}}) {
    const Image image = tests::scene(width, height);
    for (const bool cmyk : {false, true}) {
      const std::string file = tests::jpeg(image, {.components = cmyk ? 4 : 3});
      const Image whole = decode(tests::bytes_of(file));
      for (const Box box : {Box{0, 0, width, height}, Box{1, 3, width - 1, height - 4},
                            Box{width / 3, height / 2, 1, 1}, Box{width / 2, 0, 3, height}}) {
        Image part{box.width, box.height, {}};
        for (int y = 0; y < box.height; ++y) {
          const std::uint8_t* row = whole.row(box.y + y) + std::ptrdiff_t{3} * box.x;
          part.rgb.insert(part.rgb.end(), row, row + std::ptrdiff_t{3} * box.width);
        }
        for (const ResizeMode mode : {ResizeMode::kExact, ResizeMode::kFast}) {
          if (mode == ResizeMode::kFast && std::min(box.width, box.height) >= 2 * kSide) continue;
          Image expected = resize(part, {0, 0, box.width, box.height}, kSide, kSide, kViewFilter, mode);
          EXPECT_EQ(rendered(file, {.box = box}, mode), expected.rgb) << box.width << " x " << box.height;
          tests::flip_horizontally(expected);
          EXPECT_EQ(rendered(file, {.box = box, .flip = true}, mode), expected.rgb);
        }
      }
    }
  }
}

TEST(RenderView, PaintsTheErasedRectangleLastAndNothingElse) {
  const View view{
      .box = {0, 0, 120, 90}, .erase_x = 0.25F, .erase_y = 0.5F, .erase_width = 0.125F, .erase_height = 0.25F};
  Image expected = cut(view.box);
  for (int y = 32; y < 48; ++y) std::fill(expected.row(y) + 48, expected.row(y) + 72, std::uint8_t{124});
  EXPECT_EQ(rendered(view), expected.rgb);
}

// Red rises to the right, green downwards, blue falls to the right: a shift by a pixel, or a side in place of another
// one, shows.
Image slopes(int width, int height) {
  Image image{width, height, {}};
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      const auto share = [](int value, int of) { return static_cast<std::uint8_t>(20 + 200 * value / of); };
      image.rgb.insert(image.rgb.end(), {share(x, width), share(y, height), share(width - x, width)});
    }
  }
  return image;
}

TEST(RenderView, LowerResolutionsShowTheSameBox) {
  // Boxes of 1, 2, 4 and 8 times the side or more, at odd places of pictures with odd sides.
  for (const int scale : {1, 2, 4, 8}) {
    const int width = kSide * scale + 61;
    const int height = kSide * scale + 43;
    const Image image = slopes(width, height);
    for (int orientation = 1; orientation <= 8; ++orientation) {
      for (const int sampling : {1, 2}) {
        const std::string file = tests::jpeg(
            image, {.horizontal = sampling, .vertical = sampling, .orientation = orientation == 1 ? 0 : orientation});
        const bool turned = orientation >= 5;
        const View view{.box = {turned ? 7 : 13, turned ? 13 : 7, kSide * scale + 5, kSide * scale + 3}};
        const std::vector<std::uint8_t> exact = rendered(file, view, ResizeMode::kExact);
        const std::vector<std::uint8_t> fast = rendered(file, view, ResizeMode::kFast);
        double sum = 0;
        int most = 0;
        for (std::size_t i = 0; i < exact.size(); ++i) {
          sum += std::abs(exact[i] - fast[i]);
          most = std::max(most, std::abs(exact[i] - fast[i]));
        }
        EXPECT_LT(sum / static_cast<double>(exact.size()), 0.7) << scale << " times, orientation " << orientation;
        EXPECT_LE(most, 6) << scale << " times, orientation " << orientation;
      }
    }
  }
}

TEST(ReducedBox, HasTheLowestResolutionThatIsEnough) {
  const std::string file = tests::jpeg(tests::scene(500, 300), {});
  const ImageHeader header = read_image_header(tests::bytes_of(file));
  const auto size = [&](const Box& box, int side) {
    const Box pixels = reduced_box(header, box, side).pixels;
    return std::pair(pixels.width, pixels.height);
  };
  EXPECT_EQ(size({0, 0, 500, 300}, 151), std::pair(500, 300));
  EXPECT_EQ(size({0, 0, 500, 300}, 150), std::pair(250, 150));
  EXPECT_EQ(size({0, 0, 500, 300}, 75), std::pair(125, 75));
  EXPECT_EQ(size({0, 0, 500, 300}, 30), std::pair(63, 38));
  EXPECT_EQ(size({3, 1, 100, 100}, 50), std::pair(51, 51));
  const std::string other = tests::png(tests::scene(500, 300));
  EXPECT_EQ(reduced_box(read_image_header(tests::bytes_of(other)), {0, 0, 500, 300}, 30).reduction, 1);
}

// A part of a picture at a lower resolution is that part of the whole at that resolution.
TEST(DecodeJpegReduced, EqualsThePartOfTheWhole) {
  for (const int sampling : {1, 2}) {
    const std::string file = tests::jpeg(tests::scene(531, 313), {.horizontal = sampling, .vertical = sampling});
    const ImageHeader header = read_image_header(tests::bytes_of(file));
    for (const int reduction : {2, 4, 8}) {
      const int width = (531 + reduction - 1) / reduction;
      const int height = (313 + reduction - 1) / reduction;
      const Image whole = decode_jpeg(tests::bytes_of(file), header, {0, 0, width, height}, reduction);
      const Box box{width / 3, height / 4, width / 2, height / 2};
      const Image part = decode_jpeg(tests::bytes_of(file), header, box, reduction);
      for (int y = 0; y < box.height; ++y) {
        const std::uint8_t* expected = whole.row(box.y + y) + std::ptrdiff_t{3} * box.x;
        ASSERT_TRUE(std::equal(part.row(y), part.row(y) + std::ptrdiff_t{3} * box.width, expected))
            << "row " << y << " at 1/" << reduction << ", sampling " << sampling;
      }
    }
  }
}

}  // namespace
}  // namespace cskd::data

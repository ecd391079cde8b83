#include <algorithm>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "data/decode.h"
#include "runtime/error.h"
#include "runtime/philox.h"
#include "tests/data/decode_pictures.h"

namespace cskd::data {
namespace {

using tests::bytes_of;
using tests::JpegForm;
using tests::scene;

Box random_box(runtime::Philox& random, const ImageHeader& header) {
  Box box;
  box.x = static_cast<int>(random.below(static_cast<std::uint32_t>(header.width())));
  box.y = static_cast<int>(random.below(static_cast<std::uint32_t>(header.height())));
  const bool small = random.below(2) == 0;  // a box that begins and ends in one block, too
  const int most_width = std::min(header.width() - box.x, small ? 9 : header.width());
  const int most_height = std::min(header.height() - box.y, small ? 9 : header.height());
  box.width = 1 + static_cast<int>(random.below(static_cast<std::uint32_t>(most_width)));
  box.height = 1 + static_cast<int>(random.below(static_cast<std::uint32_t>(most_height)));
  return box;
}

// Pixels of `box` that differ between the whole picture and the region; all where even the size does.
int differing_pixels(const Image& whole, const Box& box, const Image& region) {
  if (region.width != box.width || region.height != box.height) return whole.width * whole.height;
  int count = 0;
  for (int y = 0; y < box.height; ++y) {
    for (int x = 0; x < box.width; ++x) {
      const std::uint8_t* inner = tests::pixel(region, x, y);
      if (!std::equal(inner, inner + 3, tests::pixel(whole, box.x + x, box.y + y))) ++count;
    }
  }
  return count;
}

void expect_equal_regions(const std::string& encoded, std::uint64_t item, int boxes) {
  runtime::Philox random(1, 0, item);
  const Image whole = decode(bytes_of(encoded));
  const ImageHeader header = read_image_header(bytes_of(encoded));
  ASSERT_EQ(header.width(), whole.width);
  ASSERT_EQ(header.height(), whole.height);
  for (int i = 0; i < boxes; ++i) {
    Box box = i == 0 ? Box{0, 0, whole.width, whole.height} : random_box(random, header);
    if (i == 1) box = {0, 0, whole.width, 1};  // strips along the borders
    if (i == 2) box = {whole.width - 1, 0, 1, whole.height};
    EXPECT_EQ(differing_pixels(whole, box, decode_region(bytes_of(encoded), header, box)), 0)
        << fmt::format("box {} {} {} {} of {} x {}", box.x, box.y, box.width, box.height, whole.width, whole.height);
  }
}

class RegionOfJpeg : public testing::TestWithParam<std::tuple<JpegForm, int>> {};

TEST_P(RegionOfJpeg, EqualsThatPartOfTheWhole) {
  const auto [form, orientation] = GetParam();
  const int sizes[][2] = {{203, 149}, {16, 16}, {17, 40}, {33, 18}, {129, 5}, {1, 50}, {160, 96}};
  JpegForm oriented = form;
  oriented.orientation = orientation;
  for (const auto& [width, height] : sizes) {
    expect_equal_regions(tests::jpeg(scene(width, height), oriented), width, width == 203 ? 80 : 25);
  }
}

std::string name_of(const testing::TestParamInfo<std::tuple<JpegForm, int>>& instance) {
  const auto& [form, orientation] = instance.param;
  return fmt::format("Components{}Sampling{}x{}{}{}{}{}Orientation{}", form.components, form.horizontal, form.vertical,
                     form.progressive ? "Progressive" : "", form.arithmetic ? "Arithmetic" : "",
                     form.restart_interval != 0 ? "Restarts" : "", form.scan_for_each ? "Scans" : "", orientation);
}

INSTANTIATE_TEST_SUITE_P(
    EveryForm, RegionOfJpeg,
    testing::Combine(testing::Values(JpegForm{}, JpegForm{.horizontal = 2, .vertical = 1},
                                     JpegForm{.horizontal = 1, .vertical = 1}, JpegForm{.horizontal = 1, .vertical = 2},
                                     JpegForm{.horizontal = 4, .vertical = 1}, JpegForm{.horizontal = 4, .vertical = 2},
                                     JpegForm{.components = 1, .horizontal = 1, .vertical = 1},
                                     JpegForm{.components = 1},
                                     JpegForm{.components = 4, .horizontal = 1, .vertical = 1},
                                     JpegForm{.components = 4}, JpegForm{.progressive = true},
                                     JpegForm{.horizontal = 2, .vertical = 1, .progressive = true},
                                     JpegForm{.horizontal = 1, .vertical = 1, .progressive = true},
                                     JpegForm{.components = 1, .progressive = true}, JpegForm{.restart_interval = 2},
                                     JpegForm{.arithmetic = true}, JpegForm{.scan_for_each = true}),
                     testing::Range(0, 9)),
    name_of);

TEST(Region, OfPngAndWebpEqualsThatPartOfTheWhole) {
  const Image image = scene(97, 61);
  expect_equal_regions(tests::png(image), 1, 40);
  expect_equal_regions(tests::webp(image, true), 2, 40);
  expect_equal_regions(tests::webp(image, false), 3, 40);
}

TEST(Region, OutsideThePictureIsABugOfTheCaller) {
  const std::string encoded = tests::png(scene(20, 10));
  const ImageHeader header = read_image_header(bytes_of(encoded));
  for (const Box box : {Box{0, 0, 21, 10}, Box{0, 0, 20, 11}, Box{-1, 0, 5, 5}, Box{19, 9, 2, 1}, Box{0, 0, 0, 1},
                        Box{1, 1, 0x7FFFFFFF, 1}}) {
    EXPECT_THROW(decode_region(bytes_of(encoded), header, box), runtime::DataError);
  }
}

}  // namespace
}  // namespace cskd::data

// What holds for any correct resampling; pixels_test.py compares every pixel with Pillow.
#include "data/resize.h"

#include <algorithm>
#include <cmath>

#include <gtest/gtest.h>

#include "data/resize_loops.h"
#include "runtime/check.h"
#include "runtime/philox.h"
#include "tests/data/decode_pictures.h"

namespace cskd::data {
namespace {

using tests::pixel;
using tests::scene;

Box whole(const Image& image) { return {0, 0, image.width, image.height}; }

// The definition in floating point, without rounding between the passes.
double exact_bilinear(const Image& image, int x, int y, int c, int width, int height) {
  const auto weights = [](int i, int source, int target) {
    const double scale = static_cast<double>(source) / target;
    const double centre = (i + 0.5) * scale;
    std::vector<double> result;
    double sum = 0;
    for (int k = 0; k < source; ++k) {
      result.push_back(std::max(0.0, 1 - std::abs(k + 0.5 - centre) / std::max(scale, 1.0)));
      sum += result.back();
    }
    for (double& weight : result) weight /= sum;
    return result;
  };
  const std::vector<double> columns = weights(x, image.width, width);
  const std::vector<double> rows = weights(y, image.height, height);
  double value = 0;
  for (int v = 0; v < image.height; ++v) {
    for (int u = 0; u < image.width; ++u) value += rows[v] * columns[u] * image.row(v)[3 * u + c];
  }
  return value;
}

TEST(Resize, BilinearFollowsItsDefinition) {
  const Image image = scene(31, 23);
  for (const auto& [width, height] : {std::pair(9, 7), std::pair(60, 11), std::pair(5, 50), std::pair(31, 8)}) {
    const Image result = resize(image, whole(image), width, height, Filter::kBilinear);
    for (int y = 0; y < height; ++y) {
      for (int x = 0; x < width; ++x) {
        for (int c = 0; c < 3; ++c) {
          EXPECT_NEAR(result.row(y)[3 * x + c], exact_bilinear(image, x, y, c, width, height), 1.01);
        }
      }
    }
  }
}

TEST(Resize, OneColourStaysThatColour) {
  for (const Filter filter : {Filter::kBilinear, Filter::kBicubic}) {
    for (const std::uint8_t value : std::initializer_list<std::uint8_t>{0, 1, 127, 254, 255}) {
      const Image image = tests::blank(37, 29, value);
      for (const auto& [width, height] : {std::pair(1, 1), std::pair(5, 80), std::pair(100, 3), std::pair(224, 224)}) {
        const Image result = resize(image, {3, 2, 30, 20}, width, height, filter);
        ASSERT_EQ(result.rgb, tests::blank(width, height, value).rgb);
      }
    }
  }
}

TEST(Resize, SameSizeOfTheWholeImageCopies) {
  const Image image = scene(20, 30);
  EXPECT_EQ(resize(image, whole(image), 20, 30, Filter::kBicubic).rgb, image.rgb);
}

TEST(Resize, ABoxAtItsOwnSizeIsACrop) {
  const Image image = scene(20, 30);
  const Image part = resize(image, {4, 5, 7, 9}, 7, 9, Filter::kBicubic);
  for (int y = 0; y < 9; ++y) {
    EXPECT_TRUE(std::equal(part.row(y), part.row(y) + 21, image.row(5 + y) + 12)) << y;
  }
}

TEST(Resize, AMirroredImageGivesTheMirroredResult) {
  const Image image = scene(48, 20);
  Image mirrored = image;
  flip_horizontally(mirrored);
  for (const Filter filter : {Filter::kBilinear, Filter::kBicubic}) {
    // Sizes whose windows are symmetric: Pillow rounds the ends of others towards one side.
    Image result = resize(image, whole(image), 16, 10, filter);
    flip_horizontally(result);
    EXPECT_EQ(resize(mirrored, whole(image), 16, 10, filter).rgb, result.rgb);
  }
}

TEST(Resize, ABoxOutsideTheImageIsABugOfTheCaller) {
  const Image image = scene(20, 30);
  for (const Box box : {Box{0, 0, 21, 30}, Box{15, 0, 6, 1}, Box{0, -1, 2, 2}, Box{0, 0, 0, 3}}) {
    EXPECT_THROW(resize(image, box, 5, 5, Filter::kBicubic), runtime::CheckFailure);
  }
  EXPECT_THROW(resize(image, whole(image), 0, 5, Filter::kBicubic), runtime::CheckFailure);
}

std::vector<std::uint8_t> random_bytes(runtime::Philox& random, std::size_t size) {
  std::vector<std::uint8_t> bytes(size);
  for (std::uint8_t& byte : bytes) byte = static_cast<std::uint8_t>(random() % 3 == 0 ? random() : random() % 2 * 255);
  return bytes;
}

template <typename Coefficient>
void expect_same_bytes(const ResizeLoopsOf<Coefficient>& portable, const ResizeLoopsOf<Coefficient>& fastest,
                       const auto& make) {
  runtime::Philox random(1, 0, 0);
  for (int i = 0; i < 300; ++i) {
    const auto source = static_cast<int>(1 + random.below(200));
    const auto target = static_cast<int>(1 + random.below(120));
    const AxisOf<Coefficient> axis =
        make(make_axis(source, 0, source, target, i % 2 == 0 ? Filter::kBicubic : Filter::kBilinear));

    const std::vector<std::uint8_t> columns = random_bytes(random, std::size_t{kColumnBytes} * (source + 1));
    std::vector<std::uint8_t> expected(std::size_t{kColumnBytes} * target);
    std::vector<std::uint8_t> found = expected;
    portable.columns(columns.data(), 0, axis, target, expected.data());
    fastest.columns(columns.data(), 0, axis, target, found.data());
    ASSERT_EQ(found, expected) << source << " columns to " << target;

    const std::size_t row_bytes = 1 + random.below(200);
    const std::vector<std::uint8_t> rows = random_bytes(random, row_bytes * source);
    expected.resize(row_bytes);
    found.resize(row_bytes);
    for (int y = 0; y < target; ++y) {
      const auto [first, count] = axis.windows[static_cast<std::size_t>(y)];
      const std::uint8_t* from = rows.data() + row_bytes * static_cast<std::size_t>(first);
      portable.rows(from, axis.of(y), count, row_bytes, expected.data());
      fastest.rows(from, axis.of(y), count, row_bytes, found.data());
      ASSERT_EQ(found, expected) << source << " rows of " << row_bytes << " to " << target;
    }
  }
}

TEST(ResizeLoops, OfEveryProcessorGiveTheSameBytes) {
  expect_same_bytes(portable_resize_loops(), fastest_resize_loops(), [](const Axis& axis) { return axis; });
  expect_same_bytes(portable_fast_resize_loops(), fastest_fast_resize_loops(), fast_axis);
}

TEST(FastAxis, SumsToOneInEveryWindow) {
  for (const auto& [source, target] : {std::pair(1, 1), {7, 5}, {500, 224}, {1600, 100}, {10, 300}}) {
    const FastAxis axis = fast_axis(make_axis(source, 0, source, target, Filter::kBicubic));
    for (int i = 0; i < target; ++i) {
      int sum = 0;
      for (std::size_t k = 0; k < axis.stride; ++k) sum += axis.of(i)[k];
      EXPECT_EQ(sum, 1 << kFastCoefficientBits);
    }
  }
}

TEST(FastResize, IsAtMostTwoLevelsAwayFromTheExactOne) {
  runtime::Philox random(1, 0, 0);
  int most = 0;
  for (int i = 0; i < 120; ++i) {
    const int width = 1 + static_cast<int>(random.below(i % 3 == 0 ? 1500 : 300));
    const int height = 1 + static_cast<int>(random.below(300));
    const Image image =
        i % 2 == 0 ? Image{width, height, random_bytes(random, std::size_t{3} * width * height)} : scene(width, height);
    const int target = 1 + static_cast<int>(random.below(250));
    const Filter filter = i % 4 < 2 ? Filter::kBicubic : Filter::kBilinear;
    const Rectangle box{0, 0, static_cast<double>(width), static_cast<double>(height)};
    const Image exact = resize(image, box, target, target, filter, ResizeMode::kExact);
    const Image fast = resize(image, box, target, target, filter, ResizeMode::kFast);
    for (std::size_t k = 0; k < exact.rgb.size(); ++k) most = std::max(most, std::abs(exact.rgb[k] - fast.rgb[k]));
  }
  EXPECT_LE(most, 2);
  EXPECT_GE(most, 1) << "is it another one at all?";
}

TEST(FastResize, FallsBackWhereAPictureBecomesTiny) {
  const Image image = scene(1700, 40);
  const Rectangle box{0, 0, 1700, 40};
  EXPECT_EQ(resize(image, box, 100, 40, Filter::kBicubic, ResizeMode::kFast).rgb,
            resize(image, box, 100, 40, Filter::kBicubic, ResizeMode::kExact).rgb);
}

TEST(Flip, ExchangesColumns) {
  for (const int width : {1, 2, 7, 8}) {
    const Image image = scene(width, 3);
    Image flipped = image;
    flip_horizontally(flipped);
    for (int y = 0; y < 3; ++y) {
      for (int x = 0; x < width; ++x) {
        const std::uint8_t* original = pixel(image, x, y);
        EXPECT_TRUE(std::equal(original, original + 3, pixel(flipped, width - 1 - x, y)));
      }
    }
  }
}

}  // namespace
}  // namespace cskd::data

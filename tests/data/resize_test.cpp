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
  tests::flip_horizontally(mirrored);
  for (const Filter filter : {Filter::kBilinear, Filter::kBicubic}) {
    // Sizes whose windows are symmetric: Pillow rounds the ends of others towards one side.
    Image result = resize(image, whole(image), 16, 10, filter);
    tests::flip_horizontally(result);
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

std::vector<std::uint16_t> random_words(runtime::Philox& random, std::size_t size) {
  const std::vector<std::uint8_t> bytes = random_bytes(random, size);
  return {bytes.begin(), bytes.end()};
}

void expect_same_results(const ResizeLoops& portable, const ResizeLoops& fastest) {
  runtime::Philox random(1, 0, 0);
  for (int i = 0; i < 300; ++i) {
    const auto source = static_cast<int>(1 + random.below(200));
    const auto target = static_cast<int>(1 + random.below(120));
    const TapAxis axis =
        make_taps(make_axis(source, 0, source, target, i % 2 == 0 ? Filter::kBicubic : Filter::kBilinear),
                  i % 4 < 2 ? ResizeMode::kExact : ResizeMode::kFast, i % 3 == 0);
    const auto pairs = static_cast<std::size_t>(axis.end_pair());

    const std::vector<std::uint8_t> pixels = random_bytes(random, std::size_t{4} * 4 * source + 16);
    const std::uint8_t* strip[kRowsAtOnce];
    for (int r = 0; r < kRowsAtOnce; ++r) strip[r] = pixels.data() + std::ptrdiff_t{4} * source * r;
    std::vector<std::uint16_t> expected_laid(kPairWords * (pairs + 1));
    std::vector<std::uint16_t> found_laid = expected_laid;
    portable.lay(strip, source, expected_laid.data());
    fastest.lay(strip, source, found_laid.data());
    if (source % 2 == 1) {  // what stands beside the last column means nothing
      for (std::size_t k = 1; k < kPairWords; k += 2) {
        const std::size_t last = kPairWords * static_cast<std::size_t>(source / 2) + k;
        found_laid[last] = expected_laid[last];
      }
    }
    expected_laid.resize(kPairWords * ((static_cast<std::size_t>(source) + 1) / 2));
    found_laid.resize(expected_laid.size());
    ASSERT_EQ(found_laid, expected_laid) << source << " columns";

    const std::vector<std::uint16_t> columns = random_words(random, kPairWords * pairs);
    const std::size_t words = 6 * axis.windows.size();
    std::vector<std::uint16_t> expected[2];
    std::vector<std::uint16_t> found[2];
    for (int side = 0; side < 2; ++side) {
      expected[side].resize(words + 2);
      found[side].resize(words + 2);
    }
    portable.columns(columns.data(), 0, axis, expected[0].data(), expected[1].data());
    fastest.columns(columns.data(), 0, axis, found[0].data(), found[1].data());
    for (int side = 0; side < 2; ++side) {
      expected[side].resize(words);
      found[side].resize(words);
      ASSERT_EQ(found[side], expected[side]) << source << " columns to " << target;
    }

    const std::size_t samples = 1 + random.below(200);
    const std::vector<std::uint16_t> rows = random_words(random, 2 * samples * pairs);
    std::vector<std::uint8_t> expected_row(samples);
    std::vector<std::uint8_t> found_row(samples);
    for (std::size_t y = 0; y < axis.windows.size(); ++y) {
      const std::uint16_t* from = rows.data() + 2 * samples * static_cast<std::size_t>(axis.windows[y]);
      portable.rows(from, 2 * samples, axis, y, samples, expected_row.data());
      fastest.rows(from, 2 * samples, axis, y, samples, found_row.data());
      ASSERT_EQ(found_row, expected_row) << source << " rows of " << samples << " to " << target;
    }
  }
}

TEST(ResizeLoops, OfEveryProcessorGiveTheSame) {
  const std::vector<ResizeLoops> all = resize_loops();
  if (all.size() == 1) GTEST_SKIP() << "this processor has no loops of its own";
  for (std::size_t i = 1; i < all.size(); ++i) expect_same_results(all.front(), all[i]);
}

TEST(Taps, OfTheFastModeSumToOneInEveryWindow) {
  for (const auto& [source, target] : {std::pair(1, 1), {7, 5}, {500, 224}, {1600, 100}, {10, 300}}) {
    const TapAxis axis = make_taps(make_axis(source, 0, source, target, Filter::kBicubic), ResizeMode::kFast, false);
    for (std::size_t i = 0; i < static_cast<std::size_t>(target); ++i) {
      int sum = 0;
      for (int k = 0; k < 2 * axis.count; ++k) sum += axis.of(i)[k];
      EXPECT_EQ(sum, 1 << kFastCoefficientBits);
    }
  }
}

TEST(Taps, OfTheExactModeAreItsCoefficients) {
  const Axis axis = make_axis(301, 3.25, 271.5, 97, Filter::kBicubic);
  for (const bool mirrored : {false, true}) {
    const TapAxis taps = make_taps(axis, ResizeMode::kExact, mirrored);
    for (std::size_t i = 0; i < axis.windows.size(); ++i) {
      const std::size_t place = mirrored ? axis.windows.size() - 1 - i : i;
      const int first = taps.windows[place];
      std::vector<std::int32_t> found;
      for (int k = 0; k < 2 * taps.count; ++k) {
        const std::int16_t* pair = taps.of(place) + std::ptrdiff_t{4} * (k / 2);
        found.push_back(pair[k % 2] * (1 << kLowBits) + pair[2 + k % 2]);
      }
      std::vector<std::int32_t> expected(found.size());
      std::copy_n(axis.of(i), axis.windows[i].count, expected.begin() + (axis.windows[i].first - 2 * first));
      ASSERT_EQ(found, expected) << i;
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
    const Box box{0, 0, width, height};
    const Image exact = resize(image, box, target, target, filter, ResizeMode::kExact);
    const Image fast = resize(image, box, target, target, filter, ResizeMode::kFast);
    for (std::size_t k = 0; k < exact.rgb.size(); ++k) most = std::max(most, std::abs(exact.rgb[k] - fast.rgb[k]));
  }
  EXPECT_LE(most, 2);
  EXPECT_GE(most, 1) << "is it another one at all?";
}

TEST(FastResize, FallsBackWhereAPictureBecomesTiny) {
  const Image image = scene(1700, 40);
  const Box box{0, 0, 1700, 40};
  EXPECT_EQ(resize(image, box, 100, 40, Filter::kBicubic, ResizeMode::kFast).rgb,
            resize(image, box, 100, 40, Filter::kBicubic, ResizeMode::kExact).rgb);
}

TEST(Flip, ExchangesColumns) {
  for (const int width : {1, 2, 7, 8}) {
    const Image image = scene(width, 3);
    Image flipped = image;
    tests::flip_horizontally(flipped);
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

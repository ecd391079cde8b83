// Every parameter of a view counts, in its order. The parts it is composed of are compared with Pillow in
// pixels_test.py.
#include "data/render_view.h"

#include <algorithm>
#include <vector>

#include <gtest/gtest.h>

#include "data/recompress.h"
#include "tests/data/decode_pictures.h"

namespace cskd::data {
namespace {

constexpr int kSide = 64;
const Image kScene = tests::scene(120, 90);

std::vector<std::uint8_t> rendered(const View& view) {
  static const std::string file = tests::png(kScene);
  std::vector<std::uint8_t> pixels(std::size_t{3} * kSide * kSide);
  render_view(std::as_bytes(std::span(file)), view, kSide, pixels);
  return pixels;
}

Image cut(const Box& box) { return resize(kScene, box, kSide, kSide, kViewFilter); }

TEST(RenderView, CutsMirrorsAndPresses) {
  const View view{.box = {10, 20, 80, 60}, .flip = true, .jpeg_quality = 70};
  // A box cut out first shows nothing of what lies around it, and so differs at its rim from a resize within the whole.
  Image part{80, 60, {}};
  for (int y = 0; y < 60; ++y) part.rgb.insert(part.rgb.end(), kScene.row(20 + y) + 30, kScene.row(20 + y) + 270);
  Image expected = resize(part, {0, 0, 80, 60}, kSide, kSide, kViewFilter);
  flip_horizontally(expected);
  const Image unpressed = expected;
  recompress(expected, 70);
  EXPECT_EQ(rendered(view), expected.rgb);
  EXPECT_NE(expected.rgb, unpressed.rgb);
  EXPECT_EQ(rendered({.box = view.box, .flip = true}), unpressed.rgb);
}

TEST(RenderView, PaintsTheErasedRectangleLastAndNothingElse) {
  const View view{
      .box = {0, 0, 120, 90}, .erase_x = 0.25F, .erase_y = 0.5F, .erase_width = 0.125F, .erase_height = 0.25F};
  Image expected = cut(view.box);
  for (int y = 32; y < 48; ++y) std::fill(expected.row(y) + 48, expected.row(y) + 72, std::uint8_t{124});
  EXPECT_EQ(rendered(view), expected.rgb);
}

}  // namespace
}  // namespace cskd::data

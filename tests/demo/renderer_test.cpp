#include "demo/renderer.h"

#include <cmath>

#include <gtest/gtest.h>

#include "demo/canvas.h"

namespace cskd::demo {
namespace {

Style everything() {
  Style style;
  for (int place = 0; place < kPlaces; ++place) style.places.push_back(static_cast<Place>(place));
  return style;
}

double mean_light(const Picture& picture) {
  double sum = 0;
  for (const std::uint8_t byte : picture.rgb) sum += byte;
  return sum / static_cast<double>(picture.rgb.size());
}

// Mean absolute difference of neighbouring pixels in a row, in a box given as fractions.
double detail(const Picture& picture, double left, double top, double right, double bottom) {
  double sum = 0;
  int count = 0;
  for (int y = static_cast<int>(top * picture.height); y < static_cast<int>(bottom * picture.height); ++y) {
    for (int x = static_cast<int>(left * picture.width); x + 1 < static_cast<int>(right * picture.width); ++x) {
      const std::uint8_t* pixel = picture.row(y) + static_cast<std::ptrdiff_t>(x) * 3;
      sum += std::abs(pixel[0] - pixel[3]);
      ++count;
    }
  }
  return sum / count;
}

Scene example() {
  Scene scene = draw_scene(1, 0, 5, everything());
  scene.place = Place::kSea;
  scene.light = Light::kDay;
  scene.weather = Weather::kClear;
  scene.exposure = 0;
  scene.contrast = 1;
  scene.noise = 0;
  scene.clutter.clear();
  scene.subject = {.thing = Thing::kHouse, .x = 0.5F, .y = 0.8F, .size = 0.5F, .hue = 0, .saturation = 0.9F};
  scene.subject_blur = 0;
  scene.background_blur = 0;
  return scene;
}

TEST(Scene, IsAFunctionOfItsArguments) {
  const Style style = everything();
  const Scene a = draw_scene(3, 1, 17, style);
  const Scene b = draw_scene(3, 1, 17, style);
  EXPECT_EQ(render(a).rgb, render(b).rgb);
  EXPECT_NE(render(a).rgb, render(draw_scene(3, 1, 18, style)).rgb);
  EXPECT_NE(render(a).rgb, render(draw_scene(4, 1, 17, style)).rgb);
  EXPECT_NE(render(a).rgb, render(draw_scene(3, 2, 17, style)).rgb);
}

TEST(Scene, StaysInsideItsStyleAndThePicture) {
  Style style = everything();
  style.long_side_low = 200;
  style.long_side_high = 210;
  for (std::uint64_t item = 0; item < 500; ++item) {
    const Scene scene = draw_scene(1, 0, item, style);
    EXPECT_GE(std::max(scene.width, scene.height), 200);
    EXPECT_LE(std::max(scene.width, scene.height), 210);
    EXPECT_GT(scene.subject.x, 0);
    EXPECT_LT(scene.subject.x, 1);
    EXPECT_LT(scene.subject.y, 1);
    EXPECT_LE(scene.clutter.size(), 14U);
  }
}

TEST(Renderer, ExposureAndContrastDoWhatTheirNamesSay) {
  Scene scene = example();
  const double right = mean_light(render(scene));
  scene.exposure = 1;
  EXPECT_GT(mean_light(render(scene)), right + 15);
  scene.exposure = -1;
  EXPECT_LT(mean_light(render(scene)), right - 15);
  scene.exposure = 0;
  scene.contrast = 0.4F;
  const Picture flat = render(scene);
  scene.contrast = 1.5F;
  EXPECT_GT(detail(render(scene), 0, 0, 1, 1), 2 * detail(flat, 0, 0, 1, 1));
}

TEST(Renderer, BlurSoftensTheSubjectOrTheBackgroundAlone) {
  const Picture sharp = render(example());
  Scene scene = example();
  scene.subject_blur = 0.06F;
  const Picture soft_subject = render(scene);
  EXPECT_LT(detail(soft_subject, 0.35, 0.4, 0.65, 0.75), 0.8 * detail(sharp, 0.35, 0.4, 0.65, 0.75));
  EXPECT_DOUBLE_EQ(detail(soft_subject, 0, 0.85, 0.1, 1), detail(sharp, 0, 0.85, 0.1, 1));
  scene = example();
  scene.background_blur = 0.022F;
  EXPECT_LT(detail(render(scene), 0, 0.7, 0.15, 1), 0.7 * detail(sharp, 0, 0.7, 0.15, 1));
}

TEST(Canvas, BlurKeepsTheMeanOfAFlatAreaAndSpreadsAPoint) {
  Canvas canvas(41, 31);
  canvas.blend(20, 15, {1, 1, 1}, 1);
  canvas.blur(2.5F, canvas.whole());
  double sum = 0;
  for (const float value : canvas.plane(0)) sum += value;
  EXPECT_NEAR(sum, 1, 1e-4);
  // Two passes of a box of radius 2.5 in both directions: the middle keeps the square of the sum of its squared
  // weights.
  const double along = (5 * 1.0 + 2 * 0.25) / 36;
  EXPECT_NEAR(canvas.plane(0)[15 * 41 + 20], along * along, 1e-5);
}

TEST(Canvas, OverlayLaysColourOverByItsCoverage) {
  Canvas under(1, 1);
  under.blend(0, 0, {1, 0, 0}, 1);
  Canvas over(1, 1);
  over.blend(0, 0, {0, 1, 0}, 0.25F);
  under.overlay(over);
  EXPECT_FLOAT_EQ(under.plane(0)[0], 0.75F);
  EXPECT_FLOAT_EQ(under.plane(1)[0], 0.25F);
  EXPECT_FLOAT_EQ(under.plane(3)[0], 1);
}

}  // namespace
}  // namespace cskd::demo

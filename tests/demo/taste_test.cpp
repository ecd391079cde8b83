#include "demo/taste.h"

#include <cmath>
#include <functional>
#include <numbers>

#include <gtest/gtest.h>

namespace cskd::demo {
namespace {

// A scene without a fault.
Scene perfect() {
  Scene scene;
  scene.width = 300;
  scene.height = 200;
  scene.horizon = 1.0F / 3;
  scene.saturation = 0.5F;
  scene.hue = 200;
  scene.subject = {
      .thing = Thing::kBoat, .x = 2.0F / 3, .y = 2.0F / 3 + 0.15F, .size = 0.3F, .hue = 20, .saturation = 0.8F};
  scene.background_blur = 0.02F;
  return scene;
}

double liking_of(const std::function<void(Scene&)>& change) {
  Scene scene = perfect();
  change(scene);
  return liking(taste_factors(scene), kMeanTaste);
}

TEST(Taste, APerfectSceneHasAllFactorsNearOne) {
  const TasteFactors factors = taste_factors(perfect());
  for (const double factor :
       {factors.composition, factors.harmony, factors.contrast, factors.exposure, factors.sharpness, factors.calm}) {
    EXPECT_GT(factor, 0.97);
    EXPECT_LE(factor, 1.0001);
  }
}

TEST(Taste, EveryFaultIsDisliked) {
  const double best = liking_of([](Scene&) {});
  EXPECT_LT(liking_of([](Scene& s) { s.subject.x = 0.5F; }), best - 0.02);
  EXPECT_LT(liking_of([](Scene& s) { s.tilt = 0.1F; }), best - 0.02);
  EXPECT_LT(liking_of([](Scene& s) { s.horizon = 0.5F; }), best - 0.02);
  EXPECT_LT(liking_of([](Scene& s) { s.subject.hue = s.hue + 90; }), best - 0.1);
  EXPECT_LT(liking_of([](Scene& s) { s.saturation = 1; }), best - 0.01);
  EXPECT_LT(liking_of([](Scene& s) { s.contrast = 0.5F; }), best - 0.02);
  EXPECT_LT(liking_of([](Scene& s) { s.contrast = 1.9F; }), best - 0.02);
  EXPECT_LT(liking_of([](Scene& s) { s.subject_blur = 0.015F; }), best - 0.1);
  EXPECT_LT(liking_of([](Scene& s) { s.background_blur = 0; }), best - 0.02);
  EXPECT_LT(liking_of([](Scene& s) { s.clutter.resize(10); }), best - 0.05);
}

// What makes the taste need learning: more of a thing is good up to a point, and bad behind it.
TEST(Taste, ExposureAndHuesAreLikedInTheMiddleOrAtBothEnds) {
  const double right = liking_of([](Scene&) {});
  EXPECT_NEAR(liking_of([](Scene& s) { s.exposure = -1; }), liking_of([](Scene& s) { s.exposure = 1; }), 1e-6);
  EXPECT_LT(liking_of([](Scene& s) { s.exposure = 1; }), right - 0.05);
  EXPECT_NEAR(liking_of([](Scene& s) { s.subject.hue = s.hue; }),
              liking_of([](Scene& s) { s.subject.hue = s.hue + 180; }), 1e-4);
}

TEST(Taste, HarmonyIsTheSquaredCosineOfTheHuesApart) {
  for (const float apart : {0.0F, 30.0F, 45.0F, 60.0F, 90.0F, 120.0F, 150.0F, 180.0F}) {
    Scene scene = perfect();
    scene.subject.hue = scene.hue + apart;
    const double cosine = std::cos(static_cast<double>(apart) * std::numbers::pi / 180);
    EXPECT_NEAR(taste_factors(scene).harmony, cosine * cosine, 1e-4) << apart;
  }
}

TEST(Taste, LikingIsTheWeightedMean) {
  TasteFactors factors;
  factors.harmony = 1;
  EXPECT_DOUBLE_EQ(liking(factors, {1, 1, 1, 1, 1, 1}), 1.0 / 6);
  EXPECT_DOUBLE_EQ(liking(factors, {0, 3, 1, 0, 0, 0}), 0.75);
}

}  // namespace
}  // namespace cskd::demo

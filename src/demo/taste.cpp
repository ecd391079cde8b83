#include "demo/taste.h"

#include <cmath>

#include "demo/colour.h"
#include "demo/exact_math.h"
#include "runtime/check.h"

namespace cskd::demo {
namespace {

// 1 where `distance` is 0, 0.37 at `width`, towards 0 beyond.
double closeness(double distance, double width) { return bell(distance / width); }

}  // namespace

const TasteWeights kMeanTaste{
    .composition = 1.4, .harmony = 1.3, .contrast = 0.7, .exposure = 0.9, .sharpness = 1.1, .calm = 0.8};

TasteFactors taste_factors(const Scene& scene) {
  TasteFactors factors;
  const double place = closeness(to_nearest_crossing(scene.subject), 0.09);
  const double horizon = closeness(to_nearest_third(scene.horizon), 0.07);
  const double level = closeness(scene.tilt, 0.045);
  factors.composition = 0.5 * place + 0.2 * horizon + 0.3 * level;

  // 1 for hues alike or opposite, 0 for a right angle.
  const double sine = sine_of_turns(hue_distance(scene.subject.hue, scene.hue) / 360);
  const double related = 1 - sine * sine;
  const double moderate = closeness(scene.saturation - 0.5, 0.35);
  factors.harmony = related * (0.6 + 0.4 * moderate);

  factors.contrast = closeness(scene.contrast < 1 ? 1 / scene.contrast - 1 : scene.contrast - 1, 0.45);
  factors.exposure = closeness(scene.exposure, 0.75);

  const double sharp = closeness(scene.subject_blur, 0.007);
  const double soft = smooth_step(0.0F, 0.012F, scene.background_blur);
  factors.sharpness = sharp * (0.65 + 0.35 * soft);

  const double clutter = static_cast<double>(scene.clutter.size());
  factors.calm = closeness(clutter, 7);
  return factors;
}

double liking(const TasteFactors& factors, const TasteWeights& weights) {
  const double total =
      weights.composition + weights.harmony + weights.contrast + weights.exposure + weights.sharpness + weights.calm;
  CSKD_CHECK(total > 0, "weights of {} in all", total);
  return (weights.composition * factors.composition + weights.harmony * factors.harmony +
          weights.contrast * factors.contrast + weights.exposure * factors.exposure +
          weights.sharpness * factors.sharpness + weights.calm * factors.calm) /
         total;
}

}  // namespace cskd::demo

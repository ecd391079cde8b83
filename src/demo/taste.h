// The hidden taste of the demo corpus: how good a scene looks, from its parameters alone. docs/demo.md explains the
// formula.
#pragma once

#include "demo/scene.h"

namespace cskd::demo {

// What the taste consists of; each in [0, 1], 1 is best.
struct TasteFactors {
  double composition = 0;  // subject near a crossing of the thirds, horizon on a third and level
  double harmony = 0;      // hues of subject and surroundings alike or opposite, colours neither dull nor shrill
  double contrast = 0;     // neither flat nor harsh
  double exposure = 0;     // neither dark nor burnt out
  double sharpness = 0;    // subject sharp, background softer
  double calm = 0;         // little clutter
};

TasteFactors taste_factors(const Scene& scene);

// How much a rater values each factor; the mean rater's weights are kMeanTaste.
struct TasteWeights {
  double composition = 1;
  double harmony = 1;
  double contrast = 1;
  double exposure = 1;
  double sharpness = 1;
  double calm = 1;
};

// The weighted mean of the factors, in [0, 1]. REQUIRES: the weights are not negative and their sum is above 0
double liking(const TasteFactors& factors, const TasteWeights& weights);

extern const TasteWeights kMeanTaste;

}  // namespace cskd::demo

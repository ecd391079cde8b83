// The choice of what an int8 export leaves in float32.
//
// Note [Products that stay in float32]
// How far rounding moves a score is measured on calibration pictures, without labels: the root of the mean squared
// difference from float32's scores, as a share of their standard deviation ("deviation"). A deviation of d takes about
// d^2 / 2 of a rank correlation. Each product is rounded alone first, on a few of the pictures; then as few as possible
// of those that cost most are left in float32, so that the deviation of the rest, rounded together, is at most what is
// allowed. At most half of them are.
#pragma once

#include <cstddef>
#include <functional>
#include <set>
#include <vector>

#include "export/quantisation.h"

namespace cskd::stages {

struct RoundingChoice {
  exporting::Rounding rounding;
  double deviation = 0;
};

// Scores of the calibration pictures, or of the first few of them, as the network computes them with this rounding;
// with null in float32. The same on every rank; NaN for pictures that cannot be read.
using RoundedScores = std::function<std::vector<double>(const exporting::Rounding* rounding, bool few)>;

// `ranges`: of all exporting::rounded_values().
RoundingChoice choose_rounding(const exporting::Recording& recording, const exporting::Ranges& ranges,
                               double most_deviation, const RoundedScores& scores);

// Of the first pictures, as many as were rounded. NaN without two whose scores are finite; infinite where scores do not
// vary and differ. Here for tests.
double deviation_of(const std::vector<double>& exact, const std::vector<double>& rounded);

}  // namespace cskd::stages

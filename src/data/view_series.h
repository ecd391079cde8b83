// The views of a picture in Stage I, numbered without end, and which of them each use of the picture shows.
#pragma once

#include <cstdint>

#include "data/view.h"

namespace cskd::data {

// View 0 is the largest square in the middle, view 1 the whole picture, view 2 its mirror image. From view 3 on:
// random resized crops, each drawn by random numbers of its own, so that a longer series begins with the shorter one.
struct ViewSeries {
  std::uint64_t seed = 1;
  double min_area = 0.35;  // of a crop

  // `picture` identifies its contents. REQUIRES: width and height at least 1
  View view(std::uint64_t picture, std::uint64_t number, int width, int height) const;
};

constexpr std::uint64_t kFixedViews = 3;  // those that are not random

// Number of the view that a picture's use `round` (from 0) shows, out of the first `count` ones, or out of all with a
// `count` of 0. Over any n consecutive uses, n * `whole` to one show the whole picture, upright and mirrored in turn;
// the others go through the other views in turn. Pictures begin at places of their own.
// REQUIRES: count is 0, or kFixedViews and more; 0 <= whole <= 1
std::uint64_t view_of_use(std::uint64_t picture, std::uint64_t round, std::uint64_t count, double whole);

}  // namespace cskd::data

// The raters of the demo corpus: each has a taste of his own around the mean one, and is not quite sure of it.
#pragma once

#include <array>
#include <cstdint>

#include "demo/taste.h"

namespace cskd::demo {

constexpr int kScores = 10;  // 1..10, as in AVA

struct Votes {
  std::array<int, kScores> counts{};  // [s] votes for score s + 1
  double mean() const;
  int total() const;
};

struct Rating {
  Votes all;
  Votes first_half;   // of the raters with even numbers
  Votes second_half;  // of those with odd numbers
};

// What about 200 of the panel's 400 raters say of image `image`. A pure function of its arguments.
//
// Rater r values each factor by the mean taste's weight times a factor in [0.4, 1.6], is up to 1 point stricter or
// kinder, and spreads his scores by 0.7 to 1.3 times the panel's scale: score = 5.5 + 5.4 (liking - 0.65) spread + bias
// + doubt, where doubt has a standard deviation of 1.1, rounded to 1..10.
Rating rate(const TasteFactors& factors, std::uint64_t seed, std::uint64_t image);

}  // namespace cskd::demo

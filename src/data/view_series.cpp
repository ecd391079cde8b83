#include "data/view_series.h"

#include <cmath>

#include "data/sampler.h"
#include "runtime/check.h"
#include "runtime/philox.h"

namespace cskd::data {

View ViewSeries::view(std::uint64_t picture, std::uint64_t number, int width, int height) const {
  if (number == 0) return test_views(TestViews::kCentre, width, height).front();
  if (number < kFixedViews) return whole_view(width, height, number == 2);
  constexpr std::uint64_t kGolden = 0x9E3779B97F4A7C15;  // odd: no two numbers of a picture share random numbers
  runtime::Philox random(seed, kStreamStoredViews, picture + number * kGolden);
  return random_resized_crop(random, width, height, min_area);
}

std::uint64_t view_of_use(std::uint64_t picture, std::uint64_t round, std::uint64_t count, double whole) {
  CSKD_CHECK((count == 0 || count >= kFixedViews) && whole >= 0 && whole <= 1, "{} views, {} of them whole", count, whole);
  // Uses that show the whole picture, before `use`; `start` in [0, 1) sets pictures apart.
  const double start = static_cast<double>(picture >> 11) * 0x1.0p-53;
  const auto before = [&](std::uint64_t use) {
    return static_cast<std::uint64_t>(std::floor(static_cast<double>(use) * whole + start));
  };
  const std::uint64_t wholes = before(round);
  if (before(round + 1) > wholes) return 1 + (picture + wholes) % 2;
  const std::uint64_t others = count - 2;
  const std::uint64_t other = count == 0 ? round - wholes : (picture % others + round - wholes) % others;
  return other == 0 ? 0 : other + 2;
}

}  // namespace cskd::data

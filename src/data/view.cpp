#include "data/view.h"

#include <algorithm>
#include <cmath>

namespace cskd::data {
namespace {

constexpr double kLowestRatio = 3.0 / 4.0;
constexpr double kHighestRatio = 4.0 / 3.0;
constexpr int kTries = 10;
constexpr int kLowestQuality = 70;
constexpr int kHighestQuality = 95;

int below(runtime::Philox& random, int bound) {
  return static_cast<int>(random.below(static_cast<std::uint32_t>(bound)));
}

bool coin(runtime::Philox& random) { return (random() & 1U) != 0; }

}  // namespace

View whole_view(int width, int height, bool flip) { return {.box = {0, 0, width, height}, .flip = flip}; }

View random_resized_crop(runtime::Philox& random, int width, int height, double min_area) {
  View view;
  view.flip = coin(random);
  const double area = static_cast<double>(width) * height;
  for (int attempt = 0; attempt < kTries; ++attempt) {
    const double share = random.uniform(min_area, 1.0);
    const double ratio = std::exp(random.uniform(std::log(kLowestRatio), std::log(kHighestRatio)));
    const int crop_width = static_cast<int>(std::lround(std::sqrt(area * share * ratio)));
    const int crop_height = static_cast<int>(std::lround(std::sqrt(area * share / ratio)));
    if (crop_width < 1 || crop_height < 1 || crop_width > width || crop_height > height) continue;
    view.box = {below(random, width - crop_width + 1), below(random, height - crop_height + 1), crop_width,
                crop_height};
    return view;
  }
  const double ratio = std::clamp(static_cast<double>(width) / height, kLowestRatio, kHighestRatio);
  const int crop_width = std::clamp(static_cast<int>(std::lround(height * ratio)), 1, width);
  const int crop_height = std::clamp(static_cast<int>(std::lround(width / ratio)), 1, height);
  view.box = {(width - crop_width) / 2, (height - crop_height) / 2, crop_width, crop_height};
  return view;
}

View weak_view(runtime::Philox& random, int width, int height) { return whole_view(width, height, coin(random)); }

View strong_view(runtime::Philox& random, int width, int height) {
  View view;
  view.flip = coin(random);
  // Both sides keep 95 % or more of their length: 90.25 % of the area, and ratios within 5 %.
  const int crop_width = std::max(1, static_cast<int>(std::ceil(width * random.uniform(0.95, 1.0))));
  const int crop_height = std::max(1, static_cast<int>(std::ceil(height * random.uniform(0.95, 1.0))));
  view.box = {below(random, width - crop_width + 1), below(random, height - crop_height + 1), crop_width, crop_height};
  if (coin(random)) view.jpeg_quality = kLowestQuality + below(random, kHighestQuality - kLowestQuality + 1);
  if (coin(random)) {
    const double share = random.uniform(0.01, 0.04);
    const double ratio = std::exp(random.uniform(std::log(0.5), std::log(2.0)));
    view.erase_width = static_cast<float>(std::sqrt(share * ratio));
    view.erase_height = static_cast<float>(std::sqrt(share / ratio));
    view.erase_x = static_cast<float>(random.uniform(0, 1.0 - view.erase_width));
    view.erase_y = static_cast<float>(random.uniform(0, 1.0 - view.erase_height));
  }
  return view;
}

std::vector<View> test_views(TestViews kind, int width, int height) {
  const int shorter = std::min(width, height);
  const auto square = [&](int side, int x, int y) { return View{.box = {x, y, side, side}}; };
  switch (kind) {
    case TestViews::kWhole:
      return {whole_view(width, height, false)};
    case TestViews::kMirrored:
      return {whole_view(width, height, false), whole_view(width, height, true)};
    case TestViews::kCentre:
      return {square(shorter, (width - shorter) / 2, (height - shorter) / 2)};
    case TestViews::kTenCrop:
      break;
  }
  const int side = std::max(1, static_cast<int>(std::lround(shorter * 0.875)));
  const int right = width - side;
  const int below = height - side;
  std::vector<View> views{square(side, 0, 0), square(side, right, 0), square(side, 0, below),
                          square(side, right, below), square(side, right / 2, below / 2)};
  const std::vector<View> upright = views;
  for (View view : upright) {
    view.flip = true;
    views.push_back(view);
  }
  return views;
}

std::uint64_t count_of(TestViews kind) { return test_views(kind, 1, 1).size(); }

}  // namespace cskd::data

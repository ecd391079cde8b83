#include "data/view.h"

#include <algorithm>
#include <cmath>
#include <map>

#include <gtest/gtest.h>

namespace cskd::data {
namespace {

void expect_inside(const Box& box, int width, int height) {
  EXPECT_GE(box.x, 0);
  EXPECT_GE(box.y, 0);
  EXPECT_GE(box.width, 1);
  EXPECT_GE(box.height, 1);
  EXPECT_LE(box.x + box.width, width);
  EXPECT_LE(box.y + box.height, height);
}

TEST(RandomResizedCrop, StaysInsideForAnyShape) {
  for (const auto& [width, height] : {std::pair{1, 1}, {2, 900}, {900, 2}, {37, 53}, {400, 300}}) {
    for (std::uint64_t item = 0; item < 200; ++item) {
      runtime::Philox random(1, 2, item);
      expect_inside(random_resized_crop(random, width, height, 0.08).box, width, height);
    }
  }
}

TEST(RandomResizedCrop, DrawsAreaRatioAndFlipFromTheirRanges) {
  double area = 0;
  int flips = 0;
  constexpr int kDraws = 4000;
  for (int item = 0; item < kDraws; ++item) {
    runtime::Philox random(1, 2, static_cast<std::uint64_t>(item));
    const View view = random_resized_crop(random, 1000, 1000, 0.2);
    const double share = view.box.width * view.box.height / 1e6;
    const double ratio = static_cast<double>(view.box.width) / view.box.height;
    EXPECT_GT(share, 0.199);
    EXPECT_GT(ratio, 0.745);
    EXPECT_LT(ratio, 1.342);
    area += share / kDraws;
    flips += view.flip ? 1 : 0;
  }
  // A share s passes when |log ratio| <= -log s: always below 3/4, with probability -log s / log(4/3) above. Its mean
  // is then (0.26125 + 0.09895) / (0.55 + 0.1190) = 0.5384, and four standard errors are 0.013.
  EXPECT_NEAR(area, 0.5384, 0.013);
  EXPECT_NEAR(flips, kDraws / 2.0, 4 * std::sqrt(kDraws / 4.0));
}

TEST(StrongView, KeepsNinetyPercentAndTheRatio) {
  int erased = 0;
  std::map<int, int> qualities;
  for (std::uint64_t item = 0; item < 2000; ++item) {
    runtime::Philox random(3, 4, item);
    const View view = strong_view(random, 640, 480);
    expect_inside(view.box, 640, 480);
    EXPECT_GE(static_cast<double>(view.box.width) * view.box.height, 0.9 * 640 * 480);
    const double change = (static_cast<double>(view.box.width) / view.box.height) / (640.0 / 480.0);
    EXPECT_LT(std::max(change, 1 / change), 1.06);
    ++qualities[view.jpeg_quality];
    if (view.erase_width > 0) {
      ++erased;
      EXPECT_LE(view.erase_x + view.erase_width, 1.0F);
      EXPECT_LE(view.erase_y + view.erase_height, 1.0F);
      EXPECT_LE(view.erase_width * view.erase_height, 0.0401F);
    }
  }
  EXPECT_NEAR(erased, 1000, 100);
  EXPECT_NEAR(qualities[0], 1000, 100);  // not pressed
  EXPECT_EQ(qualities.size(), 27U);      // 0, and 70 to 95
  EXPECT_EQ(std::next(qualities.begin())->first, 70);
  EXPECT_EQ(qualities.rbegin()->first, 95);
}

TEST(WeakView, ShowsTheWholePicture) {
  runtime::Philox random(3, 4, 5);
  EXPECT_EQ(weak_view(random, 640, 480).box, (Box{0, 0, 640, 480}));
}

}  // namespace
}  // namespace cskd::data

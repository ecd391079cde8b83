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

TEST(TestViews, AreSquaresOfThePictureInTheirPlaces) {
  for (const auto& [width, height] : {std::pair{1, 1}, {2, 3}, {640, 480}, {481, 640}, {7, 900}}) {
    const int shorter = std::min(width, height);
    const std::vector<View> centre = test_views(TestViews::kCentre, width, height);
    ASSERT_EQ(centre.size(), 1U);
    const Box& box = centre[0].box;
    EXPECT_EQ(box.width, shorter);
    EXPECT_EQ(box.height, shorter);
    EXPECT_LE(std::abs(2 * box.x + shorter - width), 1);
    EXPECT_LE(std::abs(2 * box.y + shorter - height), 1);

    const std::vector<View> ten = test_views(TestViews::kTenCrop, width, height);
    ASSERT_EQ(ten.size(), 10U);
    for (std::size_t i = 0; i < 10; ++i) {
      expect_inside(ten[i].box, width, height);
      EXPECT_EQ(ten[i].box.width, ten[i].box.height);
      EXPECT_NEAR(ten[i].box.width, 0.875 * shorter, 0.5);
      EXPECT_EQ(ten[i].flip, i >= 5);
      EXPECT_EQ(ten[i].box, ten[i % 5].box);
    }
    EXPECT_EQ(ten[0].box.x + ten[0].box.y, 0);
    EXPECT_EQ(ten[1].box.x + ten[1].box.width, width);
    EXPECT_EQ(ten[2].box.y + ten[2].box.height, height);
    EXPECT_EQ(ten[3].box.x, ten[1].box.x);
    EXPECT_EQ(ten[3].box.y, ten[2].box.y);
    EXPECT_EQ(ten[4].box.x, ten[3].box.x / 2);
    EXPECT_EQ(ten[4].box.y, ten[3].box.y / 2);
  }
  EXPECT_EQ(count_of(TestViews::kWhole), 1U);
  EXPECT_EQ(count_of(TestViews::kMirrored), 2U);
  EXPECT_FALSE(test_views(TestViews::kMirrored, 5, 4)[0].flip);
  EXPECT_TRUE(test_views(TestViews::kMirrored, 5, 4)[1].flip);
  EXPECT_EQ(test_views(TestViews::kMirrored, 5, 4)[1].box, (Box{0, 0, 5, 4}));
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
  EXPECT_NEAR(qualities[0], 1000, 100);  // not compressed
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

#include "data/view_series.h"

#include <cmath>
#include <map>
#include <set>
#include <tuple>

#include <gtest/gtest.h>

#include "runtime/philox.h"

namespace cskd::data {
namespace {

std::tuple<int, int, int, int, bool> parts_of(const View& view) {
  return {view.box.x, view.box.y, view.box.width, view.box.height, view.flip};
}

TEST(ViewSeries, BeginsWithTheMiddleTheWholeAndItsMirrorImage) {
  const ViewSeries series{.seed = 5, .min_area = 0.35};
  EXPECT_EQ(parts_of(series.view(77, 0, 300, 201)), std::tuple(49, 0, 201, 201, false));
  EXPECT_EQ(parts_of(series.view(77, 1, 300, 201)), std::tuple(0, 0, 300, 201, false));
  EXPECT_EQ(parts_of(series.view(77, 2, 300, 201)), std::tuple(0, 0, 300, 201, true));
}

TEST(ViewSeries, CropsAreInsideLargeEnoughAndAllDifferent) {
  const ViewSeries series{.seed = 5, .min_area = 0.35};
  std::set<std::tuple<int, int, int, int, bool>> seen;
  int mirrored = 0;
  constexpr int kCrops = 400;
  for (int number = 3; number < 3 + kCrops; ++number) {
    const View view = series.view(1'234'567, static_cast<std::uint64_t>(number), 900, 1100);
    EXPECT_GE(view.box.x, 0);
    EXPECT_GE(view.box.y, 0);
    EXPECT_LE(view.box.x + view.box.width, 900);
    EXPECT_LE(view.box.y + view.box.height, 1100);
    EXPECT_GE(double{view.box.width} * view.box.height, 0.349 * 900 * 1100);
    mirrored += view.flip ? 1 : 0;
    seen.insert(parts_of(view));
  }
  EXPECT_EQ(seen.size(), std::size_t{kCrops});
  EXPECT_NEAR(mirrored, kCrops / 2, 40);  // 4 deviations
}

TEST(ViewSeries, EachViewDependsOnNothingButPictureNumberAndSeed) {
  const ViewSeries series{.seed = 5, .min_area = 0.2};
  const auto wanted = parts_of(series.view(9, 40, 500, 400));
  static_cast<void>(series.view(8, 3, 500, 400));
  EXPECT_EQ(parts_of(series.view(9, 40, 500, 400)), wanted);
  EXPECT_NE(parts_of(series.view(10, 40, 500, 400)), wanted);
  EXPECT_NE(parts_of(ViewSeries{.seed = 6, .min_area = 0.2}.view(9, 40, 500, 400)), wanted);
}

// Which views the first uses of a picture show.
std::map<std::uint64_t, int> shown(std::uint64_t picture, int uses, std::uint64_t count, double whole) {
  std::map<std::uint64_t, int> times;
  for (int use = 0; use < uses; ++use) ++times[view_of_use(picture, static_cast<std::uint64_t>(use), count, whole)];
  return times;
}

TEST(ViewsOfUses, WholeOnesHaveTheirShareAndTheOthersComeInTurn) {
  runtime::Philox random(3, 1, 4);
  for (int i = 0; i < 50; ++i) {
    const std::uint64_t picture = random.bits64();
    constexpr int kUses = 1000;
    constexpr std::uint64_t kCount = 12;
    for (const double whole : {0.0, 0.1, 0.34, 0.5, 1.0}) {
      const auto times = shown(picture, kUses, kCount, whole);
      const auto of = [&](std::uint64_t view) { return times.contains(view) ? times.at(view) : 0; };
      EXPECT_NEAR(of(1) + of(2), whole * kUses, 1);
      EXPECT_NEAR(of(1), of(2), 1);
      for (const std::uint64_t view : {0U, 3U, 7U, 11U}) EXPECT_NEAR(of(view), (1 - whole) * kUses / 10, 1) << view;
      EXPECT_LT(times.rbegin()->first, kCount);
    }
  }
}

TEST(ViewsOfUses, PicturesOfABatchShowDifferentViews) {
  runtime::Philox random(3, 1, 5);
  std::map<std::uint64_t, int> times;
  constexpr int kPictures = 4000;
  for (int i = 0; i < kPictures; ++i) ++times[view_of_use(random.bits64(), 0, 12, 0.34)];
  EXPECT_NEAR(times[1] + times[2], 0.34 * kPictures, 4 * std::sqrt(0.34 * 0.66 * kPictures));
  for (const std::uint64_t view : {0U, 3U, 11U}) EXPECT_NEAR(times[view], 0.066 * kPictures, 4 * std::sqrt(0.066 * kPictures));
}

TEST(ViewsOfUses, WithoutEndEachUseIsNewButForWholePictures) {
  const auto times = shown(99, 900, 0, 0.34);
  EXPECT_EQ(times.at(0), 1);
  EXPECT_NEAR(times.at(1) + times.at(2), 306, 1);
  EXPECT_EQ(times.size(), static_cast<std::size_t>(900 - times.at(1) - times.at(2) + 2));
}

TEST(ViewsOfUses, TheMiddleStandsAloneWhereThereAreNoCrops) {
  EXPECT_EQ(shown(5, 100, 3, 0), (std::map<std::uint64_t, int>{{0, 100}}));
  EXPECT_EQ(shown(5, 100, 3, 1), (std::map<std::uint64_t, int>{{1, 50}, {2, 50}}));
}

}  // namespace
}  // namespace cskd::data

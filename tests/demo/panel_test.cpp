#include "demo/panel.h"

#include <cmath>

#include <gtest/gtest.h>

namespace cskd::demo {
namespace {

TEST(Panel, AMeanAndATotalAreWhatTheyAre) {
  Votes votes;
  votes.counts = {0, 0, 1, 0, 0, 0, 0, 0, 0, 3};
  EXPECT_EQ(votes.total(), 4);
  EXPECT_DOUBLE_EQ(votes.mean(), (3 + 3 * 10) / 4.0);
}

TEST(Panel, HalvesAddUpAndVotesAreAsManyAsAvas) {
  for (std::uint64_t image = 0; image < 50; ++image) {
    const Rating rating = rate({.composition = 0.5, .harmony = 0.5}, 1, image);
    for (size_t s = 0; s < kScores; ++s) {
      EXPECT_EQ(rating.first_half.counts[s] + rating.second_half.counts[s], rating.all.counts[s]);
    }
    EXPECT_GT(rating.all.total(), 110);
    EXPECT_LT(rating.all.total(), 290);
  }
}

TEST(Panel, IsAFunctionOfItsArguments) {
  const TasteFactors factors{.composition = 0.3, .harmony = 0.9, .calm = 0.4};
  EXPECT_EQ(rate(factors, 1, 7).all.counts, rate(factors, 1, 7).all.counts);
  EXPECT_NE(rate(factors, 1, 7).all.counts, rate(factors, 2, 7).all.counts);
  EXPECT_NE(rate(factors, 1, 7).all.counts, rate(factors, 1, 8).all.counts);
}

TEST(Panel, BetterScenesGetBetterVotesAndRatersDisagreeAsPeopleDo) {
  const Rating poor = rate({}, 1, 1);
  const Rating fine = rate({1, 1, 1, 1, 1, 1}, 1, 1);
  EXPECT_GT(fine.all.mean(), poor.all.mean() + 3);
  double spread = 0;
  for (int s = 0; s < kScores; ++s) {
    spread += fine.all.counts[static_cast<size_t>(s)] * std::pow(s + 1 - fine.all.mean(), 2);
  }
  EXPECT_NEAR(std::sqrt(spread / fine.all.total()), 1.4, 0.4);
}

}  // namespace
}  // namespace cskd::demo

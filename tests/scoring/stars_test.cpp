// Cut points and the stars that follow from them.
#include "scoring/stars.h"

#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/error.h"

namespace cskd::scoring {
namespace {

using testing::ElementsAre;

TEST(Stars, FollowFromScores) {
  const StarRule rule{.cuts = parse_cuts("2,4,6,8.5", 4), .reject = parse_cuts("1", 1).front()};
  EXPECT_THAT(stars_of(std::vector<double>{0.5, 1, 2, 3.9, 4, 8.4, 8.5, 100}, rule),
              ElementsAre(-1, 1, 2, 2, 3, 4, 5, 5));
}

TEST(Stars, FollowFromSharesOfThePhotos) {
  std::vector<double> scores;
  for (int i = 0; i <= 100; ++i) scores.push_back(100 - i);  // 100 down to 0: a score is its share
  const std::vector<int> stars =
      stars_of(scores, {.cuts = parse_cuts("10%,35%,65%,90%", 4), .reject = parse_cuts("5%", 1).front()});
  for (int i = 0; i <= 100; ++i) {
    const int score = 100 - i;
    const int expected = score < 5 ? -1 : 1 + (score >= 10) + (score >= 35) + (score >= 65) + (score >= 90);
    EXPECT_EQ(stars[static_cast<std::size_t>(i)], expected) << score;
  }
  // What is equal gets equal stars, also all of them.
  EXPECT_THAT(stars_of(std::vector<double>{3, 3, 3}, {.cuts = parse_cuts("10%,35%,65%,90%", 4), .reject = {}}),
              ElementsAre(5, 5, 5));
  EXPECT_THAT(stars_of({}, {.cuts = parse_cuts("10%,35%,65%,90%", 4), .reject = {}}), ElementsAre());
}

TEST(Stars, CutsThatAreNoneAreRefused) {
  for (const char* text : {"", "1,2,3", "1,2,3,4,5", "1,2,2,4", "4,3,2,1", "10%,2,3,4", "1,2,3,x", "1,2,3,4,", "1,,2,3",
                           "nan,1,2,3", "10%,35%,65%,101%", "-1%,35%,65%,90%"}) {
    EXPECT_THROW(parse_cuts(text, 4), runtime::UsageError) << text;
  }
}

}  // namespace
}  // namespace cskd::scoring

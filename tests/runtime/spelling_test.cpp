#include "runtime/spelling.h"

#include <gtest/gtest.h>

namespace cskd::runtime {
namespace {

TEST(Spelling, DistanceCountsInsertionsDeletionsSubstitutionsAndSwaps) {
  EXPECT_EQ(edit_distance("", ""), 0U);
  EXPECT_EQ(edit_distance("", "abc"), 3U);
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3U);
  EXPECT_EQ(edit_distance("doctor", "docotr"), 1U);
  EXPECT_EQ(edit_distance("ca", "abc"), 3U);  // optimal string alignment, not unrestricted Damerau-Levenshtein (2)
}

TEST(Spelling, NearestIsCloseOrNothing) {
  const std::vector<std::string> names{"demo", "doctor", "config", "completion"};
  EXPECT_EQ(nearest("docotr", names), "doctor");
  EXPECT_EQ(nearest("demos", names), "demo");
  EXPECT_EQ(nearest("distill", names), "");
  EXPECT_EQ(nearest("x", names), "");
  EXPECT_EQ(nearest("anything", {}), "");
}

}  // namespace
}  // namespace cskd::runtime

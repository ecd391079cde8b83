#include "runtime/inputs.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/check.h"

namespace cskd::runtime {
namespace {

Inputs inputs(const std::map<std::string, std::string>& values) { return Inputs(values); }

TEST(Inputs, NamesWhatDiffers) {
  const Inputs before = inputs({{"a", "1"}, {"b", "2"}, {"gone", "3"}});
  const Inputs now = inputs({{"a", "1"}, {"b", "5"}, {"new", "4"}});
  EXPECT_EQ(differences(before, before), "");
  EXPECT_EQ(differences(before, now), "b (was 2, is 5), gone (was 3, is unknown), new (was unknown, is 4)");
  EXPECT_EQ(differences(before, now, {"b", "gone", "unrelated"}), "new (was unknown, is 4)");
}

TEST(Inputs, HashTellsNamesFromValues) {
  EXPECT_EQ(inputs({{"a", "bc"}}).hash(), inputs({{"a", "bc"}}).hash());
  EXPECT_NE(inputs({{"a", "bc"}}).hash(), inputs({{"ab", "c"}}).hash());
  EXPECT_NE(inputs({{"a", "b"}, {"c", "d"}}).hash(), inputs({{"a", "bcd"}}).hash());
}

TEST(Inputs, AreAddedInAnyOrderButOnlyOnce) {
  Inputs one;
  one.add("a", "1");
  one.add({{"b", "2"}, {"a", "1"}});
  Inputs other;
  other.add("b", "2");
  other.add(one);
  EXPECT_EQ(one.hash(), other.hash());
  EXPECT_THROW(one.add("a", "2"), CheckFailure);
}

}  // namespace
}  // namespace cskd::runtime

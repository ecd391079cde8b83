// Which pictures of a source serve for what.
#include "shards/importers/split_rule.h"

#include <algorithm>
#include <map>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/shards/importer_fixture.h"

namespace cskd::shards {
namespace {

using config::Source;
using testing::ElementsAre;

class SplitRule : public ImporterTest {
 protected:
  // KonIQ-10k with `count` pictures of each split.
  Source rated(int count) const {
    std::string table = "image_name,c1,c2,c3,c4,c5,set\n";
    for (int i = 0; i < count; ++i) {
      for (const char* set : {"training", "validation", "test"}) {
        table += fmt::format("{}{}.jpg,0,0.5,0.5,0,0,{}\n", set, i, set);
      }
    }
    write("koniq10k_distributions_sets.csv", table);
    std::filesystem::create_directories(folder_ / "1024x768");
    return source(Source::koniq10k);
  }
  static std::map<std::string, Split> splits(const Source& source) {
    std::map<std::string, Split> found;
    for (const Entry& entry : list(source)) {
      EXPECT_EQ(entry.label.has_value(), entry.split != Split::kUnlabelled) << entry.key;
      found[entry.key] = entry.split;
    }
    return found;
  }
  static size_t count(const std::map<std::string, Split>& splits, Split split, const std::string& prefix = "") {
    return static_cast<size_t>(std::count_if(splits.begin(), splits.end(), [&](const auto& entry) {
      return entry.second == split && entry.first.starts_with(prefix);
    }));
  }
};

TEST_F(SplitRule, OfficialKeepsTheListsOfTheCollection) {
  EXPECT_THAT(splits(rated(1)),
              ElementsAre(testing::Pair("test0.jpg", Split::kTest), testing::Pair("training0.jpg", Split::kTrain),
                          testing::Pair("validation0.jpg", Split::kValidation)));
}

TEST_F(SplitRule, OneSplitForAll) {
  Source source = rated(2);
  for (const auto& [rule, split] : {std::pair(Source::train, Split::kTrain),
                                    {Source::validation, Split::kValidation},
                                    {Source::test, Split::kTest},
                                    {Source::unlabelled, Split::kUnlabelled}}) {
    source.set_split(rule);
    EXPECT_EQ(count(splits(source), split), 6U) << Source::SplitRule_Name(rule);
  }
}

TEST_F(SplitRule, OfficialCutsValidationPicturesOutOfTheTrainingOnesOnly) {
  Source source = rated(4000);
  source.set_validation_share(0.25);
  const auto found = splits(source);
  EXPECT_EQ(count(found, Split::kTest), 4000U);
  EXPECT_EQ(count(found, Split::kTest, "test"), 4000U);
  EXPECT_EQ(count(found, Split::kValidation, "validation"), 4000U);
  // Four standard deviations of a binomial of 4000 with share 0.25 are 110.
  EXPECT_NEAR(static_cast<double>(count(found, Split::kValidation, "training")), 1000, 110);
}

TEST_F(SplitRule, RandomDrawsItsSharesFromAllRatedPictures) {
  Source source = rated(4000);
  source.set_split(Source::random);
  source.set_validation_share(0.1);
  source.set_test_share(0.3);
  const auto found = splits(source);
  for (const char* set : {"training", "validation", "test"}) {
    EXPECT_NEAR(static_cast<double>(count(found, Split::kTest, set)), 1200, 120);
    EXPECT_NEAR(static_cast<double>(count(found, Split::kValidation, set)), 400, 80);
  }
  EXPECT_EQ(count(found, Split::kUnlabelled), 0U);
}

TEST_F(SplitRule, RandomSharesOfOneAndNothing) {
  Source source = rated(50);
  source.set_split(Source::random);
  EXPECT_EQ(count(splits(source), Split::kTrain), 150U);
  source.set_test_share(1);
  EXPECT_EQ(count(splits(source), Split::kTest), 150U);
  source.set_test_share(0.5);
  source.set_validation_share(0.5);
  EXPECT_EQ(count(splits(source), Split::kTrain), 0U);
}

TEST_F(SplitRule, PicturesAddedLaterAndLargerSharesMoveNone) {
  Source source = rated(300);
  source.set_split(Source::random);
  source.set_validation_share(0.2);
  source.set_test_share(0.2);
  const auto before = splits(source);
  rated(500);
  const auto after = splits(source);
  EXPECT_EQ(after.size(), 1500U);
  for (const auto& [key, split] : before) EXPECT_EQ(after.at(key), split) << key;
  source.set_test_share(0.3);
  const auto more_tests = splits(source);
  for (const auto& [key, split] : after) {
    EXPECT_TRUE(split != Split::kTest || more_tests.at(key) == Split::kTest) << key;
  }
}

TEST_F(SplitRule, AnotherNameOfTheSourceDrawsOthers) {
  Source source = rated(100);
  source.set_split(Source::random);
  source.set_test_share(0.5);
  const auto found = splits(source);
  source.set_name("others");
  EXPECT_NE(splits(source), found);
}

TEST_F(SplitRule, ThePositionFollowsFromTheNamesAlone) {
  // XXH3-128 of u64 6, "photos", u64 5, "a.jpg" (lengths little-endian), computed with the xxhash package of Python.
  EXPECT_DOUBLE_EQ(position_of("photos", "a.jpg"), 0.37530140547253243);
  EXPECT_NE(position_of("photo", "sa.jpg"), position_of("photos", "a.jpg"));
}

}  // namespace
}  // namespace cskd::shards

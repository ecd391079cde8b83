#include <map>
#include <set>

#include <gtest/gtest.h>

#include "demo/corpus_plan.h"

namespace cskd::demo {
namespace {

class Plans : public testing::TestWithParam<std::int64_t> {};

TEST_P(Plans, HoldAsManyImagesAsAskedForAFifthOfThemRated) {
  const CorpusPlan plan = plan_corpus(GetParam());
  std::int64_t images = 0;
  for (const SourcePlan& source : plan.sources) {
    EXPECT_GT(source.images, 0) << source.name;
    images += source.images;
  }
  EXPECT_EQ(images, GetParam());
  EXPECT_EQ(static_cast<std::int64_t>(plan.rated.size()), GetParam() / 5);
}

TEST_P(Plans, WriteEachPathOnce) {
  std::set<std::string> paths;
  for (const FilePlan& file : plan_corpus(GetParam()).files) EXPECT_TRUE(paths.insert(file.path).second) << file.path;
}

TEST_P(Plans, PlantEveryKindOnFilesThatExist) {
  const CorpusPlan plan = plan_corpus(GetParam());
  std::set<std::string> paths;
  for (const FilePlan& file : plan.files) paths.insert(file.path);
  std::map<std::string, int> kinds;
  for (const Planted& planted : plan.planted) {
    ++kinds[planted.kind];
    EXPECT_EQ(paths.contains(planted.path), planted.kind != "rated_missing") << planted.path;
    EXPECT_TRUE(planted.original.empty() || paths.contains(planted.original)) << planted.original;
  }
  for (const char* kind :
       {"exact_duplicate", "near_duplicate", "exif_orientation", "truncated", "empty", "garbage", "huge_header",
        "wrong_extension", "grey_jpeg", "cmyk_jpeg", "leaked_test_image", "rated_missing", "rated_truncated"}) {
    EXPECT_GE(kinds[kind], 1) << kind;
  }
}

TEST_P(Plans, LeakOnlyTestImages) {
  const CorpusPlan plan = plan_corpus(GetParam());
  std::set<std::string> test_paths;
  for (const RatedImage& image : plan.rated) {
    if (image.is_test) test_paths.insert("rated/images/" + std::to_string(image.id) + ".jpg");
  }
  for (const Planted& planted : plan.planted) {
    EXPECT_TRUE(planted.kind != "leaked_test_image" || test_paths.contains(planted.original)) << planted.original;
  }
}

INSTANTIATE_TEST_SUITE_P(Sizes, Plans, testing::Values(60, 61, 999, 7500, 200'000));

}  // namespace
}  // namespace cskd::demo

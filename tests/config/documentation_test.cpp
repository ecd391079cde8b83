#include "config/documentation.h"

#include <map>
#include <set>
#include <sstream>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "config/config.pb.h"
#include "config/schema.h"
#include "tests/support/temporary_folder.h"

namespace cskd::config {
namespace {

TEST(Documentation, ThePageInDocsIsTheOneOfTheSchema) {
  EXPECT_EQ(tests::read_file(CSKD_SOURCE_DIR "/docs/configuration.md"), markdown_page())
      << "refresh it: build/release/cskd config --markdown > docs/configuration.md";
}

TEST(Documentation, EveryKeyAndChoiceSaysWhatItDoes) {
  const std::vector<KeyPage> pages = key_pages();
  ASSERT_FALSE(pages.empty());
  for (const KeyPage& page : pages) {
    EXPECT_GT(page.effect.size(), 15U) << page.path;
    for (const auto& [name, effect] : page.choices) EXPECT_GT(effect.size(), 5U) << page.path << " = " << name;
  }
}

TEST(Documentation, ATableIsListedOnce) {
  std::map<std::string, std::string> same;
  std::set<std::string> listed;
  for (const KeyPage& page : key_pages()) {
    if (page.is_table) same[page.path] = page.same_as;
    if (page.path.ends_with(".steps")) listed.insert(page.path);
  }
  EXPECT_EQ(same["align.NAME.training"], "");
  EXPECT_EQ(same["distill.NAME.training"], "align.NAME.training");
  EXPECT_EQ(listed, std::set<std::string>{"align.NAME.training.steps"});
  EXPECT_THAT(markdown_page(), testing::HasSubstr("Keys and defaults are those of [align.NAME.training]."));
}

TEST(Documentation, EveryNumberWithAUnitNamesIt) {
  for (const KeyPage& page : key_pages()) {
    if (page.type != "number") continue;
    EXPECT_FALSE(page.range.empty()) << page.path;
    const auto ends = [&](const char* ending) { return page.path.ends_with(ending); };
    const bool is_dimensionless = ends("fraction") || ends("_rate") || ends("_area") || ends("weight") ||
                                  ends("_decay") || ends("_norm") || ends("_ramp") || ends("_penalty") ||
                                  ends("_dropout") || ends("drop_path") || ends(".momentum") || ends(".beta2") ||
                                  ends("_share") || ends("_damaged") || ends("views.whole") || ends(".mixup") ||
                                  ends(".temperature") || ends(".alpha") || ends(".ramp") || ends("_deviation");
    EXPECT_EQ(page.unit.empty(), is_dimensionless) << page.path;
  }
}

TEST(Documentation, HelpListsEveryKeyAndFitsTheScreen) {
  const std::string help = help_all();
  for (const KeyPage& page : key_pages()) {
    EXPECT_THAT(help, testing::HasSubstr(page.path.substr(page.path.rfind('.') + 1).substr(0, page.path.find('['))));
  }
  std::istringstream lines(help);
  for (std::string line; std::getline(lines, line);) EXPECT_LE(line.size(), 100U) << line;
  EXPECT_THAT(help,
              testing::HasSubstr("  min_free (number, GiB, from 0 to 1000000000; default 1.0)\n      Space that"));
}

}  // namespace
}  // namespace cskd::config

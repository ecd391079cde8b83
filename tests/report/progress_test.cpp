#include "report/progress.h"

#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace cskd::report {
namespace {

using std::chrono::seconds;

TEST(ProgressLine, ShowsCountShareRateAndTheTimeLeft) {
  EXPECT_EQ(progress_line("rendering", "images", 1204, 7500, seconds(4)),
            "rendering   1,204 of 7,500 images   16 %   301 images/s   21 s left");
  EXPECT_EQ(progress_line("caching", "images", 10, 100'000, seconds(5)),
            "caching   10 of 100,000 images   0 %   2.0 images/s   13 h 53 min left");
}

TEST(ProgressLine, EndsWithTheWholeTimeAndBeginsWithoutARate) {
  EXPECT_EQ(progress_line("rendering", "images", 100, 100, seconds(125)),
            "rendering   100 of 100 images   100 %   0.8 images/s   in 2 min 05 s");
  EXPECT_EQ(progress_line("rendering", "images", 0, 100, seconds(0)), "rendering   0 of 100 images   0 %");
}

TEST(ProgressLine, CountsNoSpeedForWhatWasDoneBeforeOrInNoTime) {
  EXPECT_EQ(progress_line("align", "steps", 600, 1000, seconds(20), 400),
            "align   600 of 1,000 steps   60 %   10 steps/s   40 s left");
  EXPECT_EQ(progress_line("packing", "shards", 400, 400, seconds(20), 400), "packing   400 of 400 shards   100 %");
  EXPECT_EQ(progress_line("packing", "shards", 400, 400, std::chrono::microseconds(70)),
            "packing   400 of 400 shards   100 %");
}

TEST(ProgressLine, IsNeverCompleteBeforeTheEnd) {
  EXPECT_THAT(progress_line("x", "images", 9999, 10000, seconds(1)), testing::HasSubstr("   99 %"));
}

TEST(Progress, AwayFromATerminalWritesWholeLinesWithoutCarriageReturns) {
  std::vector<std::string> written;
  {
    Progress progress(
        "rendering", "images",
        {.is_terminal = false, .columns = 80, .write = [&](const std::string& t) { written.push_back(t); }},
        std::chrono::milliseconds(0));
    progress.update(1, 2);
    progress.update(2, 2);
  }
  ASSERT_EQ(written.size(), 2U);
  for (const std::string& line : written) {
    EXPECT_THAT(line, testing::EndsWith("\n"));
    EXPECT_THAT(line, testing::Not(testing::HasSubstr("\r")));
  }
}

TEST(Progress, AwayFromATerminalAShortJobWritesOnlyItsEnd) {
  std::vector<std::string> written;
  Progress progress("rendering", "images",
                    {.is_terminal = false, .columns = 80, .write = [&](const std::string& t) { written.push_back(t); }},
                    std::chrono::hours(1));
  for (int i = 0; i <= 100; ++i) progress.update(i, 100);
  progress.update(100, 100);
  ASSERT_EQ(written.size(), 1U);
  EXPECT_THAT(written[0], testing::HasSubstr("100 of 100 images"));
}

TEST(Progress, OnATerminalRedrawsOneLineAndEndsIt) {
  std::string written;
  {
    Progress progress("rendering", "images",
                      {.is_terminal = true, .columns = 120, .write = [&](const std::string& t) { written += t; }});
    progress.update(50, 100);
    progress.update(100, 100);
  }
  EXPECT_THAT(written, testing::StartsWith("\r\x1b[K███████████████░░░░░░░░░░░░░░░  rendering   50 of 100 images"));
  EXPECT_THAT(written, testing::EndsWith("\n"));
  EXPECT_EQ(std::count(written.begin(), written.end(), '\n'), 1);
}

TEST(Progress, ANarrowTerminalGetsNoBar) {
  std::string written;
  Progress progress("rendering", "images",
                    {.is_terminal = true, .columns = 40, .write = [&](const std::string& t) { written += t; }});
  progress.update(50, 100);
  EXPECT_THAT(written, testing::Not(testing::HasSubstr("█")));
}

}  // namespace
}  // namespace cskd::report

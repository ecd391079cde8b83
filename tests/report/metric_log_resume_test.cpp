#include <cstdint>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "report/metric_log.h"
#include "runtime/error.h"
#include "runtime/failure_point.h"
#include "tests/support/temporary_folder.h"

namespace cskd::report {
namespace {

using runtime::FailureAction;
using testing::HasSubstr;
using testing::MatchesRegex;
using testing::ThrowsMessage;
using tests::read_file;
using tests::TemporaryFolder;

constexpr const char* kTime = R"([0-9]{10}\.?[0-9]{0,3})";

std::string line_of(std::int64_t step) {
  return fmt::format("{{\"step\": {}, \"time\": 1764000000.125, \"train/loss\": 0.5}}\n", step);
}

// A folder with a log of `text`.
class LogFolder {
 public:
  explicit LogFolder(const std::string& text) { std::ofstream(log(), std::ios::binary) << text; }
  const std::filesystem::path& path() const { return folder_.path(); }
  std::filesystem::path log() const { return folder_ / "metrics.jsonl"; }

 private:
  TemporaryFolder folder_;
};

std::string after_resuming(const std::string& text, std::int64_t first_step) {
  const LogFolder folder(text);
  { const MetricLog log(folder.path(), first_step); }
  return read_file(folder.log());
}

int event_files(const std::filesystem::path& folder) {
  if (!std::filesystem::exists(folder / "events")) return 0;
  const std::filesystem::directory_iterator files(folder / "events");
  return static_cast<int>(std::distance(begin(files), end(files)));
}

TEST(ResumedMetricLog, ResumingDropsTheLinesOfLaterSteps) {
  const std::string all = line_of(1) + line_of(2) + line_of(2) + line_of(3) + line_of(10);
  EXPECT_EQ(after_resuming(all, 0), "");
  EXPECT_EQ(after_resuming(all, 1), "");
  EXPECT_EQ(after_resuming(all, 2), line_of(1));
  EXPECT_EQ(after_resuming(all, 4), line_of(1) + line_of(2) + line_of(2) + line_of(3));
  EXPECT_EQ(after_resuming(all, 11), all);
  EXPECT_EQ(after_resuming("", 5), "");
}

TEST(ResumedMetricLog, LaterLinesAreDroppedWhereverTheyStand) {
  EXPECT_EQ(after_resuming(line_of(7) + line_of(2) + line_of(9) + line_of(3), 5), line_of(2) + line_of(3));
}

TEST(ResumedMetricLog, AResumedRunGoesOnBehindWhatIsKept) {
  const LogFolder folder(line_of(1) + line_of(2) + line_of(3));
  MetricLog log(folder.path(), 3);
  log.write(3, {{"train/loss", 0.125}});
  log.flush();
  EXPECT_THAT(read_file(folder.log()),
              MatchesRegex(fmt::format("\\{{.*\"step\": 1,.*\n\\{{.*\"step\": 2,.*\n\\{{\"step\": 3, "
                                       "\"time\": {}, \"train/loss\": 0.125\\}}\n",
                                       kTime)));
  EXPECT_EQ(read_file(folder.log()).substr(0, 2 * line_of(1).size()), line_of(1) + line_of(2));
}

TEST(ResumedMetricLog, ALastLineCutAnywhereIsDropped) {
  const std::string last = line_of(2);
  for (size_t length = 1; length + 2 <= last.size(); ++length) {
    EXPECT_EQ(after_resuming(line_of(1) + last.substr(0, length), 3), line_of(1)) << length << " bytes of it";
  }
}

TEST(ResumedMetricLog, ALastLineThatLacksItsEndOnlyIsKept) {
  const std::string last = line_of(2);
  EXPECT_EQ(after_resuming(line_of(1) + last.substr(0, last.size() - 1), 3), line_of(1) + last);
}

TEST(ResumedMetricLog, ZerosBehindTheLastLineAreDropped) {
  EXPECT_EQ(after_resuming(line_of(1) + std::string(4096, '\0'), 3), line_of(1));
}

TEST(ResumedMetricLog, DamageInTheMiddleIsNamedAndChangesNothing) {
  const std::vector<std::string> damaged{"",
                                         "{\"step\": 2, \"time\": 1",
                                         "{\"step\": 2, \"a\": nan}",
                                         "{\"step\": 2.5}",
                                         "{\"time\": 2}",
                                         "[2]",
                                         "2",
                                         std::string(30, '\0'),
                                         "{\"step\": 2, \"\xff\": 1}",
                                         "{\"step\": 2}{\"step\": 3}"};
  for (const std::string& line : damaged) {
    const std::string text = line_of(1) + line + "\n" + line_of(4);
    const LogFolder folder(text);
    EXPECT_THAT(
        [&] { MetricLog(folder.path(), 3); },
        ThrowsMessage<runtime::DataError>(testing::StartsWith(folder.log().native() + ":2: the line is damaged")))
        << line;
    EXPECT_EQ(read_file(folder.log()), text);
    EXPECT_EQ(event_files(folder.path()), 0);
  }
}

TEST(ResumedMetricLog, ADamagedLineBehindTheStepIsRefusedToo) {
  const LogFolder folder(line_of(1) + line_of(5) + "{\"step\n");
  EXPECT_THAT([&] { MetricLog(folder.path(), 3); }, ThrowsMessage<runtime::DataError>(HasSubstr("metrics.jsonl:3:")));
}

TEST(ResumedMetricLog, ALogThatLosesNothingIsNotRewritten) {
  const LogFolder folder(line_of(1));
  struct stat before {};
  struct stat after {};
  ASSERT_EQ(::stat(folder.log().c_str(), &before), 0);
  { const MetricLog log(folder.path(), 2); }
  ASSERT_EQ(::stat(folder.log().c_str(), &after), 0);
  EXPECT_EQ(before.st_ino, after.st_ino);
}

TEST(ResumedMetricLog, ARewriteThatFailsLeavesTheOldLog) {
  const std::string all = line_of(1) + line_of(2) + line_of(3);
  for (const char* place : {"atomic_file.open", "atomic_file.write", "atomic_file.rename"}) {
    const LogFolder folder(all);
    runtime::arm_failure(place, 1, FailureAction::kFull);
    EXPECT_THAT([&] { MetricLog(folder.path(), 2); }, ThrowsMessage<runtime::Error>(HasSubstr("No space left")));
    EXPECT_EQ(read_file(folder.log()), all) << place;
    EXPECT_EQ(event_files(folder.path()), 0);
  }
}

TEST(ResumedMetricLog, EveryStartHasAnEventFileOfItsOwn) {
  const TemporaryFolder folder;
  { const MetricLog log(folder.path(), 0); }
  { const MetricLog log(folder.path(), 2); }
  EXPECT_EQ(event_files(folder.path()), 2);
}

TEST(ResumedMetricLog, LinesOfTheFutureAreKeptAndTheLogGoesOnBehindThem) {
  const std::string line = "{\"step\": 1, \"time\": 9999999999, \"train/loss\": 0.5}\n";
  const LogFolder folder(line);
  {
    MetricLog log(folder.path(), 2);
    log.write(2, {{"a", 1}});
  }
  EXPECT_THAT(read_file(folder.log()), MatchesRegex(fmt::format("\\{{.*9999999999.*\n\\{{\"step\": 2, \"time\": {}, "
                                                                "\"a\": 1\\}}\n",
                                                                kTime)));
}

}  // namespace
}  // namespace cskd::report

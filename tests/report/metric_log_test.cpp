#include "report/metric_log.h"

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <exception>
#include <fstream>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runtime/check.h"
#include "runtime/error.h"
#include "runtime/failure_point.h"
#include "tests/support/captured_log.h"
#include "tests/support/full_disk.h"
#include "tests/support/temporary_folder.h"

namespace cskd::report {
namespace {

using runtime::FailureAction;
using testing::HasSubstr;
using testing::MatchesRegex;
using testing::ThrowsMessage;
using tests::FullDisk;
using tests::read_file;
using tests::TemporaryFolder;

constexpr const char* kTimePattern = R"([0-9]{10}\.?[0-9]{0,3})";

TEST(MetricLog, ALineHoldsStepTimeAndTheValuesInTheirOrder) {
  const TemporaryFolder folder;
  MetricLog log(folder / "run", 0);
  log.write(12, {{"train/loss", 0.25}, {"perf/images_per_second", 1e6}, {"a", -3}});
  log.flush();
  EXPECT_THAT(read_file(folder / "run/metrics.jsonl"),
              MatchesRegex(fmt::format("\\{{\"step\": 12, \"time\": {}, \"train/loss\": 0.25, "
                                       "\"perf/images_per_second\": 1000000, \"a\": -3\\}}\n",
                                       kTimePattern)));
}

TEST(MetricLog, NumbersAreTheShortestThatReadBackTheSame) {
  using DoubleLimits = std::numeric_limits<double>;
  const TemporaryFolder folder;
  MetricLog log(folder.path(), 0);
  log.write(std::numeric_limits<std::int64_t>::max(), {{"tenth", 0.1},
                                                       {"third", 1.0 / 3},
                                                       {"largest", DoubleLimits::max()},
                                                       {"smallest", DoubleLimits::denorm_min()},
                                                       {"zero", -0.0}});
  log.flush();
  EXPECT_THAT(read_file(folder / "metrics.jsonl"),
              testing::AllOf(HasSubstr("{\"step\": 9223372036854775807, "),
                             testing::EndsWith(", \"tenth\": 0.1, \"third\": 0.3333333333333333, \"largest\": "
                                               "1.7976931348623157e+308, \"smallest\": 5e-324, \"zero\": -0}\n")));
}

TEST(MetricLog, WhatIsNoNumberIsNull) {
  using DoubleLimits = std::numeric_limits<double>;
  const TemporaryFolder folder;
  MetricLog log(folder.path(), 0);
  log.write(1, {{"a", DoubleLimits::quiet_NaN()}, {"b", DoubleLimits::infinity()}, {"c", -DoubleLimits::infinity()}});
  log.flush();
  EXPECT_THAT(read_file(folder / "metrics.jsonl"), testing::EndsWith(", \"a\": null, \"b\": null, \"c\": null}\n"));
}

TEST(MetricLog, TagsAreEscaped) {
  const TemporaryFolder folder;
  MetricLog log(folder.path(), 0);
  log.write(1, {{"a \"b\"\\\n\t\x01 \u00e9", 1}});
  log.flush();
  EXPECT_THAT(read_file(folder / "metrics.jsonl"),
              testing::EndsWith(", \"a \\\"b\\\"\\\\\\n\\t\\u0001 \u00e9\": 1}\n"));
}

TEST(MetricLog, ATagCannotHideStepOrTime) {
  const TemporaryFolder folder;
  MetricLog log(folder.path(), 0);
  EXPECT_THROW(log.write(1, {{"step", 1}}), runtime::CheckFailure);
  EXPECT_THROW(log.write(1, {{"time", 1}}), runtime::CheckFailure);
  log.flush();
  EXPECT_EQ(read_file(folder / "metrics.jsonl"), "");
}

TEST(MetricLog, AFullDiskIsAnErrorOfTheNextCallsAndLeavesWholeLines) {
  const TemporaryFolder folder;
  MetricLog log(folder.path(), 0);
  log.write(1, {{"a", 1}});
  log.flush();
  const std::string before = read_file(folder / "metrics.jsonl");
  runtime::arm_failure("metric_log.write", 1, FailureAction::kFull);
  log.write(2, {{"a", 2}});
  const auto message =
      testing::AllOf(HasSubstr((folder / "metrics.jsonl").native()), HasSubstr("No space left on device"));
  EXPECT_THAT([&] { log.flush(); }, ThrowsMessage<runtime::Error>(message));
  EXPECT_THAT([&] { log.write(3, {{"a", 3}}); }, ThrowsMessage<runtime::Error>(message));
  EXPECT_THROW(log.flush(), runtime::Error);
  EXPECT_EQ(read_file(folder / "metrics.jsonl"), before);
}

TEST(MetricLog, AFullDiskForEventsIsAnError) {
  const TemporaryFolder folder;
  MetricLog log(folder.path(), 0);
  runtime::arm_failure("event_file.write", 1, FailureAction::kFull);
  log.write(1, {{"a", 1}, {"b", 2}});
  const auto message = testing::AllOf(HasSubstr("tfevents"), HasSubstr("No space left on device"));
  EXPECT_THAT([&] { log.flush(); }, ThrowsMessage<runtime::Error>(message));
  EXPECT_THAT([&] { log.write_histogram(1, "h", {}); }, ThrowsMessage<runtime::Error>(message));
  EXPECT_THAT(read_file(folder / "metrics.jsonl"), testing::EndsWith(", \"a\": 1, \"b\": 2}\n"));
}

std::filesystem::path event_file(const std::filesystem::path& folder) {
  return std::filesystem::directory_iterator(folder / "events")->path();
}

std::vector<std::string> lines_of(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) lines.push_back(line);
  return lines;
}

TEST(MetricLog, ADiskThatTakesAPartOfALineLeavesWholeLines) {
  const TemporaryFolder folder;
  const tests::CapturedLog messages;
  MetricLog log(folder.path(), 0, OnFailure::kRetry);
  const std::string tag(1000, 'a');  // so that the log is longer than the event file
  log.write(1, {{tag, 1}});
  log.flush();
  const std::string before = read_file(folder / "metrics.jsonl");
  {
    const FullDisk disk(before.size() + 500);
    log.write(2, {{tag, 2}});
    EXPECT_THAT([&] { log.flush(); }, ThrowsMessage<runtime::Error>(HasSubstr("File too large")));
    EXPECT_EQ(read_file(folder / "metrics.jsonl"), before);
    log.write(3, {{"b", 3}});
  }
  log.flush();
  EXPECT_THAT(read_file(folder / "metrics.jsonl").substr(before.size()),
              MatchesRegex(fmt::format("\\{{\"step\": 2, \"time\": {0}, \"a+\": 2\\}}\n"
                                       "\\{{\"step\": 3, \"time\": {0}, \"b\": 3\\}}\n",
                                       kTimePattern)));
}

// Each file gets everything once, whichever of them fails and however often.
TEST(MetricLog, FilesFailAndRecoverByThemselves) {
  const std::vector<std::pair<std::string, double>> values{{"a", 1}, {"b", 2}};
  size_t whole = 0;
  for (const char* place : {"none", "metric_log.write", "event_file.write"}) {
    const TemporaryFolder folder;
    const tests::CapturedLog messages;
    MetricLog log(folder.path(), 0, {.on_failure = OnFailure::kRetry, .retry_after = std::chrono::milliseconds(1)});
    for (std::int64_t step = 0; step < 100; ++step) {
      if (step % 10 == 0) {
        log.flush();
        runtime::arm_failure(place, 1 + static_cast<int>(step) / 20, FailureAction::kFull);
      }
      log.write(step, values);
    }
    log.flush();
    runtime::disarm_failure();
    const std::vector<std::string> lines = lines_of(folder / "metrics.jsonl");
    ASSERT_EQ(lines.size(), 100U) << place;
    for (size_t step = 0; step < lines.size(); ++step)
      EXPECT_THAT(lines[step], testing::StartsWith(fmt::format("{{\"step\": {}, ", step)));
    const size_t size = read_file(event_file(folder.path())).size();
    if (whole == 0) whole = size;
    EXPECT_EQ(size, whole) << place;
    EXPECT_EQ(messages.lines().size(), std::string(place) == "none" ? 0U : 20U);
  }
}

TEST(MetricLog, HistogramsAndImagesAreLeftOutWhereNothingIsTaken) {
  const TemporaryFolder folder;
  const tests::CapturedLog messages;
  MetricLog log(folder.path(), 0, {.on_failure = OnFailure::kRetry, .most_bytes = 2000});
  const std::string png(1500, 'p');
  {
    const FullDisk disk(0);
    log.write_image(1, "first", 10, 10, png);
    log.write_image(1, "second", 10, 10, png);
    log.write_histogram(1, "third", make_histogram(std::vector<float>{1, 2}));
    for (std::int64_t step = 1; step <= 30; ++step) log.write(step, {{"a", 1}});
    EXPECT_THROW(log.flush(), runtime::Error);
  }
  log.flush();
  log.write_image(2, "fourth", 10, 10, png);
  log.flush();
  const std::string events = read_file(event_file(folder.path()));
  EXPECT_THAT(events, testing::AllOf(HasSubstr("first"), HasSubstr("fourth")));
  EXPECT_THAT(events, testing::Not(testing::AnyOf(HasSubstr("second"), HasSubstr("third"))));
  EXPECT_EQ(lines_of(folder / "metrics.jsonl").size(), 30U);
  EXPECT_THAT(messages.lines(), testing::Contains(HasSubstr("histograms and images are left out until there is room")));
  EXPECT_THAT(messages.lines().back(), testing::EndsWith("has room again; 2 histograms and images were left out"));
}

// Of this process, from Linux's own count; negative where the kernel keeps none.
long count_of_writes() {
  std::ifstream file("/proc/self/io");
  for (std::string name; file >> name;) {
    long count = 0;
    file >> count;
    if (name == "syscw:") return count;
  }
  return -1;
}

TEST(MetricLog, ALineAndItsEventsAreOneSystemCallEach) {
  const TemporaryFolder folder;
  MetricLog log(folder.path(), 0);
  const std::vector<std::pair<std::string, double>> values{{std::string(100'000, 'a'), 1}, {"b", 2}};
  const long before = count_of_writes();
  if (before < 0) GTEST_SKIP() << "this kernel does not count the writes of a process in /proc/self/io";
  log.write(1, values);
  log.flush();
  EXPECT_EQ(count_of_writes() - before, 2);
}

TEST(MetricLog, AKilledRunLosesAtMostALine) {
  const TemporaryFolder folder;
  const pid_t child = ::fork();
  if (child == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    try {
      MetricLog log(folder.path(), 0);
      for (std::int64_t step = 0;; ++step) log.write(step, {{"train/loss", 0.5}, {"perf/data_wait", 0.25}});
    } catch (const std::exception& error) {
      std::fprintf(stderr, "%s\n", error.what());
      ::_exit(1);
    }
  }
  // Until some lines are there, or the child has failed.
  int status = 0;
  std::error_code failure;
  const std::filesystem::path path = folder / "metrics.jsonl";
  while (::waitpid(child, &status, WNOHANG) == 0) {
    const auto size = std::filesystem::file_size(path, failure);
    if (!failure && size > 20'000) break;
    ::usleep(1000);
  }
  ::kill(child, SIGKILL);
  ::waitpid(child, &status, 0);
  ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);

  const std::string before = read_file(path);
  { const MetricLog log(folder.path(), 1'000'000'000); }
  EXPECT_EQ(read_file(path), before.substr(0, before.rfind('\n') + 1));
  { const MetricLog log(folder.path(), 100); }
  const std::string kept = read_file(path);
  EXPECT_EQ(std::count(kept.begin(), kept.end(), '\n'), 100);
}

}  // namespace
}  // namespace cskd::report

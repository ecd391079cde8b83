#include "runtime/logging.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/error.h"
#include "tests/support/temporary_folder.h"

namespace cskd::runtime {
namespace {

using tests::read_file;
using tests::TemporaryFolder;

// What a logger set up with `options` writes to the console and, when options.folder is set, to its file.
std::string console_of(const LogOptions& options) {
  testing::internal::CaptureStderr();
  start_logging(options);
  spdlog::debug("a detail");
  spdlog::info("a fact");
  spdlog::error("a failure");
  spdlog::default_logger()->flush();
  return testing::internal::GetCapturedStderr();
}

TEST(Logging, RankZeroWritesToTheConsoleFromItsLevelUpwardsWithoutColoursInAPipe) {
  EXPECT_THAT(console_of({}), testing::MatchesRegex("[0-9:]+ info a fact\n[0-9:]+ error a failure\n"));
  EXPECT_THAT(console_of({.level = "debug"}), testing::HasSubstr("debug a detail"));
  EXPECT_EQ(console_of({.level = "off"}), "");
}

TEST(Logging, OtherRanksWriteOnlyErrorsToTheConsoleAndEverythingToTheirFile) {
  const TemporaryFolder folder;
  const std::string console = console_of({.level = "info", .rank = 3, .world_size = 4, .folder = folder.path()});
  EXPECT_THAT(console, testing::MatchesRegex("[0-9:]+ \\[rank 3\\] error a failure\n"));
  const std::string file = read_file(folder / "rank-3.log");
  EXPECT_THAT(file, testing::HasSubstr("[rank 3] info a fact"));
  EXPECT_THAT(file, testing::HasSubstr("[rank 3] error a failure"));
  EXPECT_THAT(file, testing::Not(testing::HasSubstr("a detail")));
  start_logging({});  // closes the file
}

TEST(Logging, UnknownLevelIsAUsageError) {
  EXPECT_THAT(
      [] { start_logging({.level = "loud"}); },
      testing::ThrowsMessage<UsageError>("log level is 'loud', expected trace, debug, info, warning, error or off"));
}

TEST(Logging, LogFileThatCannotBeOpenedIsNamed) {
  EXPECT_THAT([] { start_logging({.folder = "/proc/no"}); },
              testing::ThrowsMessage<Error>("cannot open the log file /proc/no/rank-0.log"));
}

}  // namespace
}  // namespace cskd::runtime

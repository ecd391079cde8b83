#include "runtime/error.h"

#include <cerrno>
#include <functional>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/check.h"
#include "runtime/free_space.h"

namespace cskd::runtime {
namespace {

void fail_deep() {
  try {
    try {
      throw_system_error("cannot open a/b.toml", ENOENT);
    } catch (...) {
      rethrow_with_context("cannot read the configuration");
    }
  } catch (...) {
    rethrow_with_context("cannot start the run");
  }
}

TEST(Error, ChainReadsFromOutermostToRoot) {
  try {
    fail_deep();
    FAIL() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_THAT(messages(error), testing::ElementsAre("cannot start the run", "cannot read the configuration",
                                                      "cannot open a/b.toml: No such file or directory"));
  }
}

TEST(Error, ContextKeepsTheExitCodeOfItsCause) {
  try {
    try {
      throw DataError("shard 3 is corrupt");
    } catch (...) {
      rethrow_with_context("cannot read the corpus");
    }
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), ExitCode::kData);
  }
}

TEST(Error, ContextAroundAForeignExceptionIsAFailure) {
  try {
    try {
      throw std::out_of_range("index 7");
    } catch (...) {
      rethrow_with_context("cannot look it up");
    }
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), ExitCode::kFailure);
    EXPECT_THAT(messages(error), testing::ElementsAre("cannot look it up", "index 7"));
  }
}

TEST(Error, DescriptionOfAWorldOfOneNamesNoRank) {
  EXPECT_EQ(describe(UsageError("no such key"), 0, 1), "cskd: error: no such key");
}

TEST(Error, DescriptionNamesTheRankOnEveryLineAndEndsWithTheRoot) {
  try {
    fail_deep();
  } catch (const Error& error) {
    EXPECT_EQ(describe(error, 3, 4),
              "cskd[rank 3 of 4]: error: cannot start the run\n"
              "cskd[rank 3 of 4]:   because: cannot read the configuration\n"
              "cskd[rank 3 of 4]:   because: cannot open a/b.toml: No such file or directory");
  }
}

TEST(Check, PassesSilentlyAndFailsWithPlaceConditionAndDetail) {
  CSKD_CHECK(1 + 1 == 2, "arithmetic");
  try {
    const int rank = 5;
    CSKD_CHECK(rank < 4, "rank {} of {}", rank, 4);
    FAIL() << "nothing was thrown";
  } catch (const CheckFailure& failure) {
    EXPECT_THAT(failure.what(), testing::MatchesRegex("bug in cskd at .*error_test.cpp:[0-9]+: rank < 4 does not hold: "
                                                      "rank 5 of 4"));
  }
}

TEST(FreeSpace, LooksAtTheNearestExistingAncestor) {
  EXPECT_GT(free_space("/tmp/does/not/exist/yet"), 0U);
  EXPECT_EQ(free_space("/proc"), 0U);
}

TEST(FreeSpace, ShortageNamesNeedPathAndRemedy) {
  try {
    require_free_space("/proc/here", std::uint64_t{3} << 30, "the demo corpus");
    FAIL() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(),
                 "no room for the demo corpus: 3.0 GiB needed at /proc/here, but only 0 B are free there; free some "
                 "space or choose "
                 "another folder");
  }
}

TEST(FreeSpace, BytesAreFormattedInBinaryUnits) {
  EXPECT_EQ(format_bytes(0), "0 B");
  EXPECT_EQ(format_bytes(1023), "1023 B");
  EXPECT_EQ(format_bytes(1536), "1.5 KiB");
  EXPECT_EQ(format_bytes((std::uint64_t{1} << 20) - 1), "1.0 MiB");
  EXPECT_EQ(format_bytes(~std::uint64_t{0}), "16.0 EiB");
}

}  // namespace
}  // namespace cskd::runtime

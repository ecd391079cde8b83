#include "launch/deadline.h"

#include <cstdlib>
#include <ctime>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/error.h"

namespace cskd::launch {
namespace {

using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;
using testing::HasSubstr;

// 2026-11-26 13:00:00 UTC
const auto kNow = std::chrono::system_clock::from_time_t(1795698000);

auto parsed(const std::string& text, const std::optional<std::string>& slurm_end = std::nullopt) {
  return parse_deadline(text, kNow, slurm_end) - kNow;
}

std::string error_of(const std::string& text, const std::optional<std::string>& slurm_end = std::nullopt) {
  try {
    parsed(text, slurm_end);
  } catch (const runtime::UsageError& error) {
    return error.what();
  }
  return "";
}

TEST(Deadline, IsADurationADateOrTheEndOfTheJob) {
  EXPECT_EQ(parsed("90m"), minutes(90));
  EXPECT_EQ(parsed("1h30m"), minutes(90));
  EXPECT_EQ(parsed("2d1h1m1s"), hours(49) + minutes(1) + seconds(1));
  EXPECT_EQ(parsed("5400s"), seconds(5400));
  EXPECT_EQ(parsed("2026-11-26T18:00Z"), hours(5));
  EXPECT_EQ(parsed("2026-11-26T13:00:30Z"), seconds(30));
  EXPECT_EQ(parsed("slurm", "1795701600"), hours(1));
}

TEST(Deadline, WithoutAZoneIsLocal) {
  ::setenv("TZ", "Asia/Tokyo", 1);
  ::tzset();
  EXPECT_EQ(parsed("2026-11-27T00:00"), hours(2));
  ::unsetenv("TZ");
  ::tzset();
}

TEST(Deadline, AnythingElseIsRefusedWithTheForms) {
  for (const char* text : {"", "soon", "90", "1m1h", "1h1", "-5m", "1.5h", "99999999999999999999s", "400d",
                           "2026-11-26", "2026-11-26T18:00+01", "2026-13-40T18:00", "h", "1hm"})
    EXPECT_THAT(error_of(text), HasSubstr("is not a time: expected a duration")) << text;
  EXPECT_THAT(error_of("2026-11-26T12:59Z"), HasSubstr("has passed: it is 2026-11-26T13:00:00Z now"));
  EXPECT_THAT(error_of("0s"), HasSubstr("has passed"));
  EXPECT_THAT(error_of("slurm"), HasSubstr("SLURM_JOB_END_TIME"));
  EXPECT_THAT(error_of("slurm", "tomorrow"), HasSubstr("SLURM_JOB_END_TIME"));
}

}  // namespace
}  // namespace cskd::launch

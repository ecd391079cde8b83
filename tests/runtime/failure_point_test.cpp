#include "runtime/failure_point.h"

#include <cstdlib>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/error.h"

namespace cskd::runtime {
namespace {

class FailurePoint : public testing::Test {
 protected:
  ~FailurePoint() override {
    ::unsetenv("CSKD_FAIL_AT");
    disarm_failure();
  }
  static void arm(const char* text) {
    ::setenv("CSKD_FAIL_AT", text, 1);
    arm_failure_from_environment();
  }
};

TEST_F(FailurePoint, PassesWhenNothingIsArmed) { EXPECT_NO_THROW(failure_point("a.b", "x")); }

TEST_F(FailurePoint, FailsOnceAtTheGivenPassageOfTheGivenName) {
  arm("a.b:3");
  failure_point("a.b", "first");
  failure_point("other", "x");
  failure_point("a.b", "second");
  EXPECT_THAT([] { failure_point("a.b", "third"); },
              testing::ThrowsMessage<Error>("a.b failed on third (injected): Input/output error"));
  EXPECT_NO_THROW(failure_point("a.b", "fourth"));
}

TEST_F(FailurePoint, FullReportsNoSpace) {
  arm("a.b:1:full");
  EXPECT_THAT([] { failure_point("a.b", "x"); }, testing::ThrowsMessage<Error>(testing::HasSubstr("No space left")));
}

TEST_F(FailurePoint, MalformedSettingsAreRefused) {
  EXPECT_THAT([] { arm("a.b:zero"); },
              testing::ThrowsMessage<UsageError>("CSKD_FAIL_AT: passage is 'zero', expected a whole number from 1"));
  EXPECT_THAT([] { arm("a.b:0"); },
              testing::ThrowsMessage<UsageError>("CSKD_FAIL_AT: passage is '0', expected a whole number from 1"));
  EXPECT_THAT([] { arm("a.b:1:explode"); },
              testing::ThrowsMessage<UsageError>(
                  "CSKD_FAIL_AT: action is 'explode', expected error, full, kill, halt or term"));
}

}  // namespace
}  // namespace cskd::runtime

#include "runtime/failure_point.h"

#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

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

TEST_F(FailurePoint, SpoilsOnlyWhereANumberIsComputed) {
  arm("a.b:2:spoil");
  EXPECT_FALSE(is_spoilt("a.b", "first"));
  EXPECT_FALSE(is_spoilt("other", "x"));
  EXPECT_TRUE(is_spoilt("a.b", "second"));
  EXPECT_FALSE(is_spoilt("a.b", "third"));
  arm("a.b:spoil");
  EXPECT_NO_THROW(failure_point("a.b", "computes nothing"));
}

TEST_F(FailurePoint, FullReportsNoSpace) {
  arm("a.b:1:full");
  EXPECT_THAT([] { failure_point("a.b", "x"); }, testing::ThrowsMessage<Error>(testing::HasSubstr("No space left")));
}

TEST_F(FailurePoint, FailsAtPassagesOfTheGivenObjectOnly) {
  arm("a.b@manifest.cskd");
  failure_point("a.b", "/run/shards/shard-00000.h5");
  failure_point("a.b", "/run/shards/old-manifest.cskd");
  failure_point("a.b", "/run/manifest.cskd/other");
  failure_point("other", "/run/shards/manifest.cskd");
  EXPECT_THAT([] { failure_point("a.b", "/run/shards/manifest.cskd"); },
              testing::ThrowsMessage<Error>("a.b failed on /run/shards/manifest.cskd (injected): Input/output error"));
}

TEST_F(FailurePoint, AnObjectIsTheLastNamesOfAPath) {
  for (const char* object :
       {"a.b@model.safetensors", "a.b@step-4/model.safetensors", "a.b@run/step-4/model.safetensors",
        "a.b@/run/step-4/model.safetensors", "a.b@*.safetensors", "a.b@step-?/*.safetensors"}) {
    arm(object);
    failure_point("a.b", "/run/step-3/the-model.safetensors.old");
    failure_point("a.b", "/run/step-4/model");
    failure_point("a.b", "/run/step-4/model.safetensors/b");
    EXPECT_THROW(failure_point("a.b", "/run/step-4/model.safetensors"), Error) << object;
  }
  for (const char* object : {"a.b@odel.safetensors", "a.b@tep-4/model.safetensors", "a.b@/model.safetensors",
                             "a.b@run/*.safetensors", "a.b@/a/run/step-4/model.safetensors", "a.b@safetensors"}) {
    arm(object);
    EXPECT_NO_THROW(failure_point("a.b", "/run/step-4/model.safetensors")) << object;
  }
  arm("a.b@align.student");
  EXPECT_THROW(failure_point("a.b", "align.student"), Error);
}

TEST_F(FailurePoint, ATemporaryFileHasTheNameThatItWillHave) {
  arm("a.b@manifest.cskd");
  EXPECT_THROW(failure_point("a.b", "/run/shards/manifest.cskd.tmp"), Error);
}

TEST_F(FailurePoint, PassagesOfTheObjectAreCounted) {
  arm("a.b@y:2:full");
  failure_point("a.b", "x");
  failure_point("a.b", "y");
  failure_point("a.b", "x");
  EXPECT_THAT([] { failure_point("a.b", "y"); }, testing::ThrowsMessage<Error>(testing::HasSubstr("No space left")));
}

TEST_F(FailurePoint, AnActionNeedsNoPassage) {
  arm("a.b:full");
  EXPECT_THAT([] { failure_point("a.b", "x"); }, testing::ThrowsMessage<Error>(testing::HasSubstr("No space left")));
}

TEST_F(FailurePoint, AndFromATest) {
  arm_failure("a.b@y", 1, FailureAction::kError);
  failure_point("a.b", "x");
  EXPECT_THROW(failure_point("a.b", "y"), Error);
}

TEST_F(FailurePoint, MalformedSettingsAreRefused) {
  const std::string expected =
      "expected <name>[@<object>][:<passage, a whole number from 1>][:<error, full, kill, halt, term or spoil>]";
  for (const auto& [text, part] : std::vector<std::pair<std::string, std::string>>{{"a.b:zero", "zero"},
                                                                                   {"a.b:0", "0"},
                                                                                   {"a.b:-1", "-1"},
                                                                                   {"a.b:99999999999", "99999999999"},
                                                                                   {"a.b:1:explode", "explode"},
                                                                                   {"a.b:1:", ""},
                                                                                   {"a.b:", ""},
                                                                                   {"a.b:kill:2", "2"},
                                                                                   {"a.b@x:1:kill:y", "y"},
                                                                                   {"a.b:1:2", "2"}}) {
    EXPECT_THAT([&] { arm(text.c_str()); }, testing::ThrowsMessage<UsageError>("CSKD_FAIL_AT: cannot read '" + part +
                                                                               "' in '" + text + "', " + expected));
  }
  for (const auto& [text, name] : std::vector<std::pair<std::string, std::string>>{
           {"@x", ""}, {":1", ""}, {"A.b", "A.b"}, {"a b", "a b"}, {"a/b@x", "a/b"}}) {
    EXPECT_THAT([&] { arm(text.c_str()); },
                testing::ThrowsMessage<UsageError>("CSKD_FAIL_AT: place is '" + name +
                                                   "', expected a name such as atomic_file.rename"));
  }
  EXPECT_THAT(
      [] { arm("a.b@:kill"); },
      testing::ThrowsMessage<UsageError>("CSKD_FAIL_AT: nothing follows the @ of 'a.b@', expected the end of a path"));
}

}  // namespace
}  // namespace cskd::runtime

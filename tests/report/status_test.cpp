#include "report/status.h"

#include <cmath>
#include <fstream>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "runtime/error.h"
#include "runtime/failure_point.h"
#include "tests/support/temporary_folder.h"

namespace cskd::report {
namespace {

using nlohmann::json;
using testing::HasSubstr;
using testing::ThrowsMessage;
using tests::TemporaryFolder;

Status full_status() {
  return {.state = RunState::kFailed,
          .stage = "align",
          .step = 1204,
          .steps = 7500,
          .unit = "steps",
          .images_per_second = 1412.25,
          .seconds_left = 3720.5,
          .loss = 0.1,
          .validation = Status::Validation{1000, {{"validation/emd", 0.0712}, {"validation/srcc", -1.0 / 3}}},
          .checkpoint = Status::Checkpoint{1000, 1764000000.125},
          .skipped_steps = 2,
          .damaged_pictures = 14,
          .ranks = 8,
          .goodput = Goodput{.stage = "align",
                             .allocation = "slurm 7.1",
                             .step = 1204,
                             .starts = 3,
                             .lost_steps = 17,
                             .held = 1000.5,
                             .kept = 900.25,
                             .ended = false},
          .warnings = {"rank 1 on n2 is slow", "the network"},
          .message = "disk \"full\"\n\u00e9",
          .host = "node17",
          .pid = 4242,
          .process_namespace = "pid:[4026531836]",
          .started = 1763990000.5,
          .updated = 1764000100.5,
          .last_step_time = 1764000099,
          .step_seconds = 0.25,
          .longest_step_seconds = 12};
}

json document() { return json::parse(to_json(full_status()).dump()); }

Status parsed(const json& object) { return parse_status(object.dump(), "a/status.json"); }

TEST(Status, ReadsBackAsItWas) {
  EXPECT_EQ(parsed(document()), full_status());
  Status least;
  least.pid = 1;
  EXPECT_EQ(parse_status(to_json(least).dump(), ""), least);
  for (const RunState state : {RunState::kRunning, RunState::kStopped, RunState::kFinished, RunState::kFailed}) {
    Status status = full_status();
    status.state = state;
    EXPECT_EQ(parse_status(to_json(status).dump(), "").state, state);
  }
}

TEST(Status, HoldsAKnownText) {
  EXPECT_THAT(
      to_json(full_status()).dump(),
      testing::StartsWith(R"({"version":1,"state":"failed","stage":"align","step":1204,"steps":7500,"unit":"steps",)"
                          R"("images_per_second":1412.25,"seconds_left":3720.5,"loss":0.1,"validation":{"step":1000,)"
                          R"("figures":{"validation/emd":0.0712,)"));
}

TEST(Status, WhatIsNoNumberIsReadBackAsNaN) {
  Status status = full_status();
  status.loss = std::numeric_limits<double>::infinity();
  status.validation->figures = {{"a", std::nan("")}};
  const Status back = parse_status(to_json(status).dump(), "");
  EXPECT_TRUE(std::isnan(*back.loss));
  EXPECT_TRUE(std::isnan(back.validation->figures.at("a")));
}

TEST(Status, WhateverIsWrittenCanBeRead) {
  Status status = full_status();
  status.message = std::string(10'000, 'a');
  status.message.replace(4095, 3, "\u20ac");  // where it is cut
  status.stage = std::string(1000, '\xff');
  status.host = std::string(1000, '\x01');
  status.step = -5;
  status.ranks = 0;
  status.pid = 0;
  status.seconds_left = std::numeric_limits<double>::infinity();
  status.checkpoint->time = std::nan("");
  status.updated = -1;
  for (int i = 0; i < 1000; ++i) status.validation->figures[std::string(1000, 'f') + std::to_string(i)] = 1e300;
  for (int i = 0; i < 1000; ++i) status.validation->figures[std::to_string(i)] = 1e300;
  const std::string text = to_json(status).dump(2, ' ', false, json::error_handler_t::replace);
  EXPECT_LT(text.size(), 200'000U);
  const Status back = parse_status(text, "");
  EXPECT_EQ(back.message, std::string(4095, 'a'));
  EXPECT_EQ(back.step, 0);
  EXPECT_EQ(back.validation->figures.size(), 64U);
}

TEST(Status, UnknownKeysArePassedOver) {
  json object = document();
  object["weather"] = {{"rain", 1}};
  EXPECT_EQ(parsed(object), full_status());
}

TEST(Status, AVersionOfTheFutureSaysSo) {
  json object{{"version", 2}, {"state", "dreaming"}};
  EXPECT_THAT([&] { parsed(object); },
              ThrowsMessage<runtime::DataError>(
                  "a/status.json is of version 2, written by a newer cskd; this one reads version 1"));
}

TEST(Status, DamageIsNamed) {
  const std::vector<std::pair<std::string, std::string>> texts{
      {"", "it is not a JSON object"},
      {"{", "it is not a JSON object"},
      {"[1]", "it is not a JSON object"},
      {"null", "it is not a JSON object"},
      {"{}", "\"version\" is missing"},
      {document().dump() + "x", "it is not a JSON object"},
      {document().dump().substr(0, 100), "it is not a JSON object"},
      {std::string(100, '\0'), "it is not a JSON object"},
      {std::string(200'000, '['), "it is not a JSON object"},
      {"{\"version\": 1, \"state\": \"\xff\"}", "it is not a JSON object"},
  };
  for (const auto& [text, why] : texts) {
    const std::string& content = text;
    EXPECT_THAT([&] { parse_status(content, "a/status.json"); },
                ThrowsMessage<runtime::DataError>("a/status.json is damaged: " + why))
        << text.substr(0, 200);
  }
}

TEST(Status, EveryKeyIsChecked) {
  const std::string whole = "\"{}\" is not a whole number from ";
  const std::vector<std::tuple<const char*, std::vector<json>, std::string>> cases{
      {"version", {0, -1, 1.5, "1", nullptr}, whole},
      {"state", {"dreaming", ""}, "\"{}\" is not a state of a run"},
      {"state", {1, nullptr}, "\"{}\" is not a text"},
      {"stage", {1, nullptr, json::array()}, "\"{}\" is not a text"},
      {"unit", {1}, "\"{}\" is not a text"},
      {"message", {json::object()}, "\"{}\" is not a text"},
      {"host", {1}, "\"{}\" is not a text"},
      {"process_namespace", {1}, "\"{}\" is not a text"},
      {"step", {-1, 0.5, 1e300, "1", nullptr, 18446744073709551615ULL}, whole},
      {"steps", {-1, 18446744073709551615ULL}, whole},
      {"skipped_steps", {-1}, whole},
      {"damaged_pictures", {-1}, whole},
      {"ranks", {0, 4294967297}, whole},
      {"pid", {0, -1, 4294967297}, whole},
      {"images_per_second", {"fast", false}, "\"{}\" is not a number"},
      {"loss", {"0.1", json::array()}, "\"{}\" is not a number"},
      {"seconds_left", {-1, 1e12, nullptr, "1"}, "\"{}\" is not a number of seconds"},
      {"started", {-1, 1e12, nullptr, "1"}, "\"{}\" is not a number of seconds"},
      {"updated", {-1, nullptr}, "\"{}\" is not a number of seconds"},
      {"last_step_time", {-1, nullptr}, "\"{}\" is not a number of seconds"},
      {"step_seconds", {-1, nullptr}, "\"{}\" is not a number of seconds"},
      {"longest_step_seconds", {-1, nullptr}, "\"{}\" is not a number of seconds"},
      {"validation", {1, nullptr}, "it is not a JSON object"},
      {"validation", {json::object()}, "\"step\" is missing"},
      {"validation", {{{"step", 1}}}, "\"figures\" is missing"},
      {"validation", {{{"step", 1}, {"figures", {{"a", "b"}}}}}, "\"a\" is not a number"},
      {"checkpoint", {json::array()}, "it is not a JSON object"},
      {"checkpoint", {{{"step", 1}}}, "\"time\" is missing"},
  };
  for (const auto& [key, values, why] : cases) {
    const std::string message = fmt::format(fmt::runtime(why), key);
    for (const json& value : values) {
      json object = document();
      object[key] = value;
      EXPECT_THAT([&] { parsed(object); },
                  ThrowsMessage<runtime::DataError>(testing::StartsWith("a/status.json is damaged: " + message)))
          << value;
    }
  }
  const std::vector<std::string> optional{"images_per_second", "seconds_left", "loss",    "validation",
                                          "checkpoint",        "goodput",      "warnings"};
  const json whole_document = document();
  for (const auto& [key, value] : whole_document.items()) {
    json object = document();
    object.erase(key);
    if (std::find(optional.begin(), optional.end(), key) != optional.end()) {
      EXPECT_NO_THROW(parsed(object)) << key;
    } else {
      EXPECT_THAT([&] { parsed(object); }, ThrowsMessage<runtime::DataError>(HasSubstr("is missing"))) << key;
    }
  }
}

class ReadStatus : public testing::Test {
 protected:
  void write(const std::string& text) const { std::ofstream(status_path(folder_.path())) << text; }
  TemporaryFolder folder_;
};

TEST_F(ReadStatus, ReadsTheFileOfARun) {
  write(document().dump());
  EXPECT_EQ(read_status(folder_.path()), full_status());
}

TEST_F(ReadStatus, WhatIsNoRunFolderIsNamed) {
  const std::string path = folder_.path().native();
  EXPECT_THAT([&] { read_status(folder_.path()); },
              ThrowsMessage<runtime::UsageError>(path + " holds no status.json: has a stage of it been started?"));
  EXPECT_THAT([&] { read_status(folder_ / "no"); },
              ThrowsMessage<runtime::UsageError>(path + "/no is not a run folder: it does not exist"));
  write("");
  EXPECT_THAT([&] { read_status(folder_ / "status.json"); },
              ThrowsMessage<runtime::UsageError>(path + "/status.json is not a run folder: it is a file"));
}

TEST_F(ReadStatus, AFileThatIsTooLargeIsNotRead) {
  write(document().dump() + std::string(300'000, ' '));
  EXPECT_THROW(read_status(folder_.path()), runtime::DataError);
}

TEST_F(ReadStatus, AFileThatGoesAwayUnderTheReaderIsReadAgain) {
  write(document().dump());
  runtime::arm_failure("status.read", 1, runtime::FailureAction::kError);
  EXPECT_EQ(read_status(folder_.path()), full_status());
}

TEST_F(ReadStatus, AFolderInItsPlaceIsAnError) {
  std::filesystem::create_directory(status_path(folder_.path()));
  EXPECT_THROW(read_status(folder_.path()), runtime::Error);
}

}  // namespace
}  // namespace cskd::report

#include "report/status_text.h"

#include <chrono>
#include <cmath>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "report/number_text.h"
#include "tests/support/temporary_folder.h"

namespace cskd::report {
namespace {

using testing::AllOf;
using testing::Each;
using testing::ElementsAre;
using testing::Field;
using testing::HasSubstr;
using testing::Not;

constexpr double kShownAt = 1'764'000'000;

Status running_status() {
  return {.stage = "align",
          .step = 1204,
          .steps = 7500,
          .images_per_second = 1412.4,
          .seconds_left = 3720,
          .loss = 0.25134,
          .validation = Status::Validation{1000, {{"validation/emd", 0.0712}, {"validation/srcc", 0.68123}}},
          .checkpoint = Status::Checkpoint{1000, kShownAt - 194},
          .skipped_steps = 1,
          .damaged_pictures = 14,
          .ranks = 8,
          .host = "node17",
          .pid = 4242,
          .started = kShownAt - 8042,
          .updated = kShownAt - 2,
          .last_step_time = kShownAt - 6};
}

const std::vector<CompleteStage> kComplete{{"shard", 723.4, 10}, {"cache", 251, 10}};
const Health kHealthy{Verdict::kHealthy, "healthy"};

std::vector<std::string> lines(const std::string& text) {
  std::istringstream stream(text);
  std::vector<std::string> result;
  for (std::string line; std::getline(stream, line);) result.push_back(line);
  return result;
}

int width(const std::string& line) {
  return static_cast<int>(
      std::count_if(line.begin(), line.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

TEST(StatusText, ShowsEverything) {
  EXPECT_EQ(status_text("runs/demo", running_status(), kHealthy, kComplete, {.now = kShownAt}),
            "runs/demo   align   running\n"
            "  1,204 of 7,500 steps   16 %\n"
            "\n"
            "  speed       1,412 images/s, 1 h 02 min left\n"
            "  loss        0.2513\n"
            "  validation  emd 0.0712, srcc 0.6812   at step 1,000\n"
            "  checkpoint  step 1,000, 3 min 12 s ago\n"
            "  left out    1 step, 14 damaged pictures\n"
            "  health      healthy, last step 4 s ago\n"
            "  job         8 ranks, process 4242 on node17, for 2 h 14 min\n"
            "  complete    shard   12 min 04 s\n"
            "              cache   4 min 11 s\n");
}

TEST(StatusText, ShowsLittleWhereLittleIsKnown) {
  const Status status{.stage = "evaluate", .host = "a", .pid = 7, .started = kShownAt, .updated = kShownAt};
  EXPECT_EQ(status_text("r", status, kHealthy, {}, {.now = kShownAt}),
            "r   evaluate   running\n"
            "  0 steps\n"
            "\n"
            "  health      healthy\n"
            "  job         1 rank, process 7 on a, for 0 s\n");
}

TEST(StatusText, HasABarWhereThereIsRoom) {
  EXPECT_THAT(status_text("r", running_status(), kHealthy, {}, {.columns = 80, .now = kShownAt}),
              HasSubstr("\n  █████░░░░░░░░░░░░░░░░░░░░░░░░░   1,204 of 7,500 steps   16 %\n"));
  EXPECT_THAT(status_text("r", running_status(), kHealthy, {}, {.columns = 45, .now = kShownAt}),
              HasSubstr("\n  ██░░░░░░░░░░░   1,204 of 7,500 steps   16 %\n"));
  EXPECT_THAT(status_text("r", running_status(), kHealthy, {}, {.columns = 40, .now = kShownAt}), Not(HasSubstr("░")));
}

TEST(StatusText, FitsEveryTerminal) {
  Status status = running_status();
  status.stage = std::string(60, 'a') + "\u00e9\u00e9\u00e9";
  for (int columns = 1; columns < 130; ++columns) {
    for (const std::string& line : lines(status_text("runs/demo", status, kHealthy, kComplete, {.columns = columns})))
      EXPECT_LE(width(line), columns) << line;
  }
}

TEST(StatusText, ColoursHealthOnly) {
  const auto text = [](const Health& health, bool has_colours) {
    return status_text("r", running_status(), health, {}, {.has_colours = has_colours, .now = kShownAt});
  };
  EXPECT_THAT(text(kHealthy, true), HasSubstr("\n  health      \x1b[32mhealthy, last step 4 s ago\x1b[0m\n"));
  EXPECT_THAT(text({Verdict::kStalled, "s"}, true), HasSubstr("\x1b[33ms\x1b[0m"));
  EXPECT_THAT(text({Verdict::kSilent, "s"}, true), HasSubstr("\x1b[31ms\x1b[0m"));
  EXPECT_THAT(text({Verdict::kSilent, "s"}, false), Not(HasSubstr("\x1b")));
}

TEST(StatusText, OfARunThatIsOverTellsWhenItWas) {
  Status status = running_status();
  status.state = RunState::kFailed;
  const std::string text =
      status_text("r", status, {Verdict::kFailed, "cskd: error: a\ncskd:   because: b"}, {}, {.now = kShownAt + 7200});
  EXPECT_THAT(text, AllOf(HasSubstr("r   align   failed\n"), HasSubstr("  speed       1,412 images/s\n"),
                          HasSubstr("  health      cskd: error: a; cskd:   because: b\n"),
                          HasSubstr("  checkpoint  step 1,000, 2 h 03 min ago\n"),
                          HasSubstr("on node17, for 2 h 14 min until 2 h 00 min ago\n")));
}

TEST(StatusText, TakesTimesFromTheClockOfTheRunWhileItLives) {
  for (const double reader : {kShownAt - 5000, kShownAt + 5000})
    EXPECT_EQ(status_text("r", running_status(), kHealthy, {}, {.now = reader}),
              status_text("r", running_status(), kHealthy, {}, {.now = kShownAt}));
}

TEST(StatusText, NoNumberIsNonsense) {
  Status status = running_status();
  status.step = 9'000'000'000'000'000'000;
  status.steps = 1;
  status.images_per_second = std::nan("");
  status.loss = std::nan("");
  status.seconds_left = 1e11;
  status.checkpoint->time = kShownAt + 1e6;
  status.started = kShownAt + 1e6;
  status.last_step_time = kShownAt + 1e6;
  const std::string text = status_text("r", status, kHealthy, {{"s", -1e300, 0}}, {.columns = 100, .now = kShownAt});
  EXPECT_THAT(text,
              AllOf(HasSubstr("   100 %\n"), HasSubstr("  speed       - images/s, 1157407 d 09 h left\n"),
                    HasSubstr("  loss        nan\n"), HasSubstr("  checkpoint  step 1,000, 0 s ago\n"),
                    HasSubstr("last step 0 s ago\n"), HasSubstr("for 0 s\n"), HasSubstr("  complete    s   0 s\n")));
}

TEST(StatusText, AHostileStatusDoesNotSteerTheTerminal) {
  const std::string evil = "a\x1b[2Jb\x07\r\nc\u009b2Jd\x7f" + std::string(5000, 'e');
  Status status = running_status();
  status.stage = status.unit = status.host = evil;
  status.validation->figures = {{evil, 1}};
  for (int i = 0; i < 50; ++i) status.validation->figures[std::to_string(i)] = i;
  const Health health{Verdict::kFailed, evil};
  const std::string text = status_text("r" + evil, status, health, {{evil, 1, 1}}, {.now = kShownAt});
  const std::string line = status_line(status, health);
  for (const std::string& shown : {text, line}) {
    EXPECT_THAT(shown, Not(testing::AnyOf(HasSubstr("\x1b"), HasSubstr("\u009b"), HasSubstr("\r"), HasSubstr("\x07"),
                                          HasSubstr("\x7f"))));
    EXPECT_THAT(lines(shown), Each(testing::SizeIs(testing::Le(1400U))));
  }
  EXPECT_THAT(text, HasSubstr("  health      a?[2Jb??; c?2Jd?eee"));
  EXPECT_THAT(line, Not(HasSubstr("\n")));
  EXPECT_EQ(lines(text).size(), 11U);
}

TEST(StatusLine, StaysTheSameUntilSomethingHappens) {
  EXPECT_EQ(status_line(running_status(), kHealthy),
            "align   1,204 of 7,500 steps   16 %   1,412 images/s   loss 0.2513   emd 0.0712, srcc 0.6812   healthy");
  Status later = running_status();
  later.updated += 5;
  EXPECT_EQ(status_line(later, kHealthy), status_line(running_status(), kHealthy));
  EXPECT_EQ(status_line(later, {Verdict::kSilent, "for 3 min"}), status_line(later, {Verdict::kSilent, "for 4 min"}));
  EXPECT_THAT(status_line(later, {Verdict::kFailed, "the disk is full"}),
              testing::EndsWith("failed: the disk is full"));
}

TEST(NumberText, CommasAndDurations) {
  EXPECT_EQ(with_commas(0), "0");
  EXPECT_EQ(with_commas(999), "999");
  EXPECT_EQ(with_commas(1000), "1,000");
  EXPECT_EQ(with_commas(-999), "-999");
  EXPECT_EQ(with_commas(-1234567), "-1,234,567");
  EXPECT_EQ(duration_text(0), "0 s");
  EXPECT_EQ(duration_text(-5), "0 s");
  EXPECT_EQ(duration_text(59.2), "1 min 00 s");
  EXPECT_EQ(duration_text(47 * 3600 + 60), "47 h 01 min");
  EXPECT_EQ(duration_text(49 * 3600), "2 d 01 h");
  EXPECT_EQ(duration_text(1e300), duration_text(1e12));
  EXPECT_EQ(duration_text(std::nan("")), "0 s");
}

class CompleteStages : public testing::Test {
 protected:
  // `order`: of the files' times
  void write(const std::string& folder, const std::string& text, int order) const {
    std::filesystem::create_directories(run_ / folder);
    std::ofstream(run_ / folder / "complete.json") << text;
    std::filesystem::last_write_time(run_ / folder / "complete.json",
                                     std::filesystem::file_time_type(std::chrono::hours(order)));
  }
  tests::TemporaryFolder run_;
};

TEST_F(CompleteStages, AreListedAsTheyEnded) {
  write("align", R"({"stage": "align", "inputs": {}, "seconds": 12.5, "images": 100, "facts": {}, "products": {}})", 3);
  write("cache/ViT", R"({"stage": "cache", "seconds": 2, "images": 50})", 2);
  write("shards", R"({"stage": "shard", "seconds": 1, "images": 60})", 1);
  std::filesystem::create_directories(run_ / "distill");
  const auto is = [](const char* stage, double taken, std::uint64_t images) {
    return AllOf(Field(&CompleteStage::stage, stage), Field(&CompleteStage::seconds, taken),
                 Field(&CompleteStage::images, images));
  };
  EXPECT_THAT(complete_stages(run_.path()),
              ElementsAre(is("shard", 1, 60), is("cache", 2, 50), is("align", 12.5, 100)));
}

TEST_F(CompleteStages, WhatIsNoRecordIsPassedOver) {
  write("a", "", 1);
  write("b", "[1]", 1);
  write("c", R"({"stage": 1, "seconds": 1, "images": 1})", 1);
  write("d", R"({"stage": "d", "seconds": "1", "images": 1})", 1);
  write("e", R"({"stage": "e", "seconds": 1})", 1);
  write("f", std::string(100'000, '['), 1);
  write("g", R"({"stage": "g", "seconds": 1, "images": 1})" + std::string(2'000'000, ' '), 1);
  std::filesystem::create_directories(run_ / "h/complete.json");
  std::ofstream(run_ / "complete.json") << R"({"stage": "i", "seconds": 1, "images": 1})";
  EXPECT_THAT(complete_stages(run_.path()), testing::IsEmpty());
  EXPECT_THAT(complete_stages(run_ / "nowhere"), testing::IsEmpty());
}

}  // namespace
}  // namespace cskd::report

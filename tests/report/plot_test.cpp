#include "report/plot.h"

#include <limits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace cskd::report {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr double kGap = std::numeric_limits<double>::quiet_NaN();

std::vector<std::string> texts(const Axis& axis) {
  std::vector<std::string> all;
  for (const auto& [place, text] : axis.ticks) all.push_back(text);
  return all;
}

TEST(AxisFromZero, HasRoundTicks) {
  EXPECT_EQ(texts(axis_from_zero(0.43, "")), (std::vector<std::string>{"0", "0.1", "0.2", "0.3", "0.4", "0.5"}));
  EXPECT_EQ(texts(axis_from_zero(1, "")), (std::vector<std::string>{"0", "0.2", "0.4", "0.6", "0.8", "1"}));
  EXPECT_EQ(texts(axis_from_zero(512, "")), (std::vector<std::string>{"0", "200", "400", "600"}));
  for (const double most : {1e-9, 0.07, 3.0, 999.0, 1e7}) {
    const Axis axis = axis_from_zero(most, "");
    EXPECT_GE(axis.high, most * (1 - 1e-9)) << most;
    EXPECT_LE(axis.ticks.size(), 6U) << most;
    EXPECT_GE(axis.ticks.size(), 2U) << most;
  }
  for (const double odd : {0.0, -1.0, kGap}) EXPECT_EQ(axis_from_zero(odd, "").high, 1);
}

TEST(Plot, LeavesOutWhatIsNotFinite) {
  Plot plot(layer_axis(3), axis_from_zero(1, "y"));
  plot.line({{1, 0.5}, {2, kGap}, {3, 0.5}}, 0, "");
  plot.dot({kGap, 1}, 0, "nothing");
  const std::string svg = plot.svg("");
  EXPECT_THAT(svg, Not(HasSubstr("nan")));
  EXPECT_THAT(svg, Not(HasSubstr("nothing")));
  // Two strokes instead of one over the gap.
  EXPECT_EQ(std::count(svg.begin(), svg.end(), 'M'), 2);
}

TEST(Plot, EscapesTexts) {
  Plot plot(layer_axis(3), axis_from_zero(1, "<y>"));
  plot.dot({1, 1}, 9, "<script>");
  const std::string svg = plot.svg("\"><script>");
  EXPECT_THAT(svg, Not(HasSubstr("<script>")));
  EXPECT_THAT(svg, HasSubstr("&lt;y&gt;"));
  EXPECT_THAT(svg, HasSubstr("dot s1\""));
}

TEST(IntervalPlot, HasARowForEachAndStaysInside) {
  const std::string svg =
      interval_plot({{.label = "<a>", .series = 0, .values = {{.value = 0.5, .low = -3, .high = 9, .title = "first"}}},
                     {.label = "b", .series = 1, .values = {{.value = kGap, .title = "second"}}}},
                    axis_from_zero(1, "SRCC"), "all");
  EXPECT_THAT(svg, HasSubstr("&lt;a&gt;"));
  EXPECT_THAT(svg, HasSubstr("x1=\"128.0\" x2=\"344.0\""));
  EXPECT_THAT(svg, HasSubstr("first"));
  EXPECT_THAT(svg, Not(HasSubstr("second")));
}

}  // namespace
}  // namespace cskd::report

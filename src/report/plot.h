// Plots as inline SVG, which take their colours from the page's style (report/page_style.h): series s has the class
// "s<s % kSeriesColours>". Texts are escaped here.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace cskd::report {

inline constexpr int kSeriesColours = 8;

// From what to what an axis goes, and where it has ticks.
struct Axis {
  double low = 0;
  double high = 1;
  std::vector<std::pair<double, std::string>> ticks;  // place and text
  std::string label;
};

// From 0 to the first round number at or above `most`, with at most six ticks.
Axis axis_from_zero(double most, std::string label);
// From the last round number at or below `low` to the first at or above `high`, with at most eight ticks.
Axis axis_between(double low, double high, std::string label);
// Layers 1 to `layers`.
Axis layer_axis(int layers);

struct Point {
  double x = 0;
  double y = 0;
};

class Plot {
 public:
  Plot(Axis x, Axis y);

  // Points that are not finite are left out, and break a line. `title`: shown where a pointer rests on it.
  void line(const std::vector<Point>& points, int series, const std::string& title);
  void dot(Point point, int series, const std::string& title);
  // A thin line that is no series.
  void rule(Point from, Point to);
  // The interval of a value, upright.
  void whisker(double x, double low, double high, int series);
  // From (x, low) to (x, high), of what lies between two lines.
  void band(const std::vector<Point>& low, const std::vector<Point>& high, int series);

  // The whole <svg>; `description` for those who do not see it.
  std::string svg(const std::string& description) const;

 private:
  double across(double x) const;
  double down(double y) const;

  Axis x_, y_;
  std::string marks_;
};

// A row of IntervalPlot: values with intervals, one below the other.
struct Interval {
  double value = 0;
  double low = 0;
  double high = 0;
  bool is_hollow = false;
  std::string title;
};

struct IntervalRow {
  std::string label;
  int series = 0;
  std::vector<Interval> values;
};

// Rows of values on one horizontal axis, as <svg>. Values that are not finite are left out.
std::string interval_plot(const std::vector<IntervalRow>& rows, const Axis& axis, const std::string& description);

}  // namespace cskd::report

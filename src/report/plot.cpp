#include "report/plot.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "report/html_text.h"

namespace cskd::report {
namespace {

// In units of the view box; about one pixel each on a phone of 390 pixels.
constexpr double kWidth = 360;
constexpr double kHeight = 230;
constexpr double kLeft = 44;
constexpr double kRight = 16;
constexpr double kTop = 10;
constexpr double kBottom = 40;
constexpr double kRowHeight = 22;
constexpr double kValueGap = 7;  // between two values of a row

std::string series_class(int series) { return fmt::format("s{}", series % kSeriesColours); }

std::string title_of(const std::string& title) {
  return title.empty() ? "" : fmt::format("<title>{}</title>", html_escaped(title));
}

bool is_finite(const Point& point) { return std::isfinite(point.x) && std::isfinite(point.y); }

// The least of 1, 2 and 5 times a power of ten of which five or fewer cover `range`. REQUIRES: range > 0
double round_step(double range) {
  const double power = std::pow(10.0, std::floor(std::log10(range / 5)));
  for (const double factor : {1.0, 2.0, 5.0}) {
    if (factor * power * 5 >= range * (1 - 1e-9)) return factor * power;
  }
  return 10 * power;
}

std::string opened(double height, const std::string& description) {
  return fmt::format("<svg viewBox=\"0 0 {:.0f} {:.0f}\" role=\"img\" aria-label=\"{}\">", kWidth, height,
                     html_escaped(description));
}

}  // namespace

Axis axis_from_zero(double most, std::string label) {
  Axis axis{.low = 0, .high = 1, .ticks = {}, .label = std::move(label)};
  const double wanted = std::isfinite(most) && most > 0 ? most : 1;
  const double step = round_step(wanted);
  const auto steps = static_cast<int>(std::ceil(wanted / step * (1 - 1e-9)));
  axis.high = steps * step;
  for (int i = 0; i <= steps; ++i) axis.ticks.emplace_back(i * step, fmt::format("{:.6g}", i * step));
  return axis;
}

Axis axis_between(double low, double high, std::string label) {
  if (!std::isfinite(low) || !std::isfinite(high)) return axis_from_zero(1, std::move(label));
  // All values alike, or nearly: some room around them.
  const double largest = std::max(std::abs(low), std::abs(high));
  if (high - low <= 1e-6 * largest) {
    const double room = largest > 0 ? 0.1 * largest : 1;
    low -= room;
    high += room;
  }
  const double step = round_step(high - low);
  const double first = std::floor(low / step * (1 + 1e-12));
  const double last = std::max(first + 1, std::ceil(high / step * (1 - 1e-12)));
  Axis axis{.low = first * step, .high = last * step, .ticks = {}, .label = std::move(label)};
  for (double i = first; i <= last; ++i) axis.ticks.emplace_back(i * step, fmt::format("{:.6g}", i * step));
  return axis;
}

Axis layer_axis(int layers) {
  Axis axis{.low = 0.5, .high = layers + 0.5, .ticks = {}, .label = "layer"};
  const int step = std::max(1, (layers + 11) / 12);
  for (int layer = 1; layer <= layers; layer += step) axis.ticks.emplace_back(layer, std::to_string(layer));
  return axis;
}

Plot::Plot(Axis x, Axis y) : x_(std::move(x)), y_(std::move(y)) {}

double Plot::across(double x) const { return kLeft + (kWidth - kLeft - kRight) * (x - x_.low) / (x_.high - x_.low); }

double Plot::down(double y) const {
  return kHeight - kBottom - (kHeight - kTop - kBottom) * (y - y_.low) / (y_.high - y_.low);
}

void Plot::line(const std::vector<Point>& points, int series, const std::string& title) {
  std::string path;
  bool goes_on = false;
  for (const Point& point : points) {
    if (is_finite(point)) path += fmt::format("{}{:.1f} {:.1f}", goes_on ? "L" : "M", across(point.x), down(point.y));
    goes_on = is_finite(point);
  }
  if (!path.empty())
    marks_ += fmt::format("<path class=\"line {}\" d=\"{}\">{}</path>", series_class(series), path, title_of(title));
}

void Plot::dot(Point point, int series, const std::string& title) {
  if (!is_finite(point)) return;
  marks_ += fmt::format("<circle class=\"dot {}\" cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"2.6\">{}</circle>",
                        series_class(series), across(point.x), down(point.y), title_of(title));
}

void Plot::rule(Point from, Point to) {
  marks_ += fmt::format("<line class=\"axis\" x1=\"{:.1f}\" x2=\"{:.1f}\" y1=\"{:.1f}\" y2=\"{:.1f}\"/>",
                        across(from.x), across(to.x), down(from.y), down(to.y));
}

void Plot::whisker(double x, double low, double high, int series) {
  if (!std::isfinite(x) || !std::isfinite(low) || !std::isfinite(high)) return;
  marks_ += fmt::format("<line class=\"whisker {0}\" x1=\"{1:.1f}\" x2=\"{1:.1f}\" y1=\"{2:.1f}\" y2=\"{3:.1f}\"/>",
                        series_class(series), across(x), down(low), down(high));
}

void Plot::band(const std::vector<Point>& low, const std::vector<Point>& high, int series) {
  if (low.empty() || !std::ranges::all_of(low, is_finite) || !std::ranges::all_of(high, is_finite)) return;
  std::string path = "M";
  for (const Point& point : low) path += fmt::format(" {:.1f} {:.1f}", across(point.x), down(point.y));
  for (auto point = high.rbegin(); point != high.rend(); ++point)
    path += fmt::format(" {:.1f} {:.1f}", across(point->x), down(point->y));
  marks_ += fmt::format("<path class=\"band {}\" d=\"{}Z\"/>", series_class(series), path);
}

std::string Plot::svg(const std::string& description) const {
  std::string text = opened(kHeight, description);
  for (const auto& [place, label] : y_.ticks) {
    text += fmt::format(
        "<line class=\"grid\" x1=\"{:.1f}\" x2=\"{:.1f}\" y1=\"{:.1f}\" y2=\"{:.1f}\"/>"
        "<text class=\"tick\" x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"end\">{}</text>",
        kLeft, kWidth - kRight, down(place), down(place), kLeft - 6, down(place) + 4, html_escaped(label));
  }
  text += fmt::format("<line class=\"axis\" x1=\"{:.1f}\" x2=\"{:.1f}\" y1=\"{:.1f}\" y2=\"{:.1f}\"/>", kLeft,
                      kWidth - kRight, kHeight - kBottom, kHeight - kBottom);
  for (const auto& [place, label] : x_.ticks) {
    text += fmt::format("<text class=\"tick\" x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"middle\">{}</text>",
                        across(place), kHeight - kBottom + 15, html_escaped(label));
  }
  text += fmt::format("<text class=\"label\" x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"middle\">{}</text>",
                      (kLeft + kWidth - kRight) / 2, kHeight - 6, html_escaped(x_.label));
  text += fmt::format(
      "<text class=\"label\" transform=\"translate(11 {:.1f}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
      (kTop + kHeight - kBottom) / 2, html_escaped(y_.label));
  return text + marks_ + "</svg>";
}

std::string interval_plot(const std::vector<IntervalRow>& rows, const Axis& axis, const std::string& description) {
  constexpr double kLabels = 128;
  const double bottom = kTop + kRowHeight * static_cast<double>(rows.size());
  const auto across = [&](double x) {
    const double share = (x - axis.low) / (axis.high - axis.low);
    return kLabels + (kWidth - kLabels - kRight) * std::clamp(share, 0.0, 1.0);
  };
  std::string text = opened(bottom + kBottom, description);
  for (const auto& [place, label] : axis.ticks) {
    text += fmt::format(
        "<line class=\"grid\" x1=\"{0:.1f}\" x2=\"{0:.1f}\" y1=\"{1:.1f}\" y2=\"{2:.1f}\"/>"
        "<text class=\"tick\" x=\"{0:.1f}\" y=\"{3:.1f}\" text-anchor=\"middle\">{4}</text>",
        across(place), kTop, bottom, bottom + 15, html_escaped(label));
  }
  text += fmt::format("<text class=\"label\" x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"middle\">{}</text>",
                      (kLabels + kWidth - kRight) / 2, bottom + kBottom - 6, html_escaped(axis.label));
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const IntervalRow& row = rows[i];
    const double middle = kTop + kRowHeight * (static_cast<double>(i) + 0.5);
    text += fmt::format("<text class=\"row\" x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"end\">{}</text>", kLabels - 8,
                        middle + 4, html_escaped(row.label));
    for (std::size_t k = 0; k < row.values.size(); ++k) {
      const Interval& value = row.values[k];
      if (!std::isfinite(value.value)) continue;
      const double y = middle + kValueGap * (static_cast<double>(k) - 0.5 * static_cast<double>(row.values.size() - 1));
      const std::string kind = series_class(row.series);
      if (value.high > value.low) {
        text += fmt::format("<line class=\"whisker {0}\" x1=\"{1:.1f}\" x2=\"{2:.1f}\" y1=\"{3:.1f}\" y2=\"{3:.1f}\"/>",
                            kind, across(value.low), across(value.high), y);
      }
      text += fmt::format("<circle class=\"{} {}\" cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"3.4\">{}</circle>",
                          value.is_hollow ? "hollow" : "mark", kind, across(value.value), y, title_of(value.title));
    }
  }
  return text + "</svg>";
}

}  // namespace cskd::report

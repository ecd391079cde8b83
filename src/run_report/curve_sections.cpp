#include "run_report/curve_sections.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <set>
#include <utility>

#include <fmt/format.h>

#include "report/html_page.h"
#include "report/plot.h"

namespace cskd::run_report {
namespace {

constexpr std::size_t kMostPoints = 240;  // of a line
constexpr std::size_t kMostLines = 24;    // of a chart
constexpr std::pair<const char*, const char*> kValidations[] = {{"validation/srcc", "SRCC on the validation split"},
                                                                {"validation/cosine", "Cosine on the validation split"},
                                                                {"validation/loss", "Loss on the validation split"}};

struct Line {
  std::string name;
  int series = 0;
  Curve curve;
};

// `y` is made for the values that the lines have.
std::string chart(const std::string& heading, const std::string& note, std::vector<Line> lines, const std::string& y,
                  bool starts_at_zero) {
  double low = std::numeric_limits<double>::infinity();
  double high = -low;
  std::int64_t last = 1;
  std::size_t hidden = 0;
  if (lines.size() > kMostLines) hidden = lines.size() - kMostLines;
  lines.resize(lines.size() - hidden);
  for (Line& line : lines) {
    if (!line.curve.steps.empty()) last = std::max(last, line.curve.steps.back());
    line.curve = thinned(line.curve, kMostPoints);
    for (const double value : line.curve.values) {
      if (!std::isfinite(value)) continue;
      low = std::min(low, value);
      high = std::max(high, value);
    }
  }
  if (!(low <= high)) return "";
  report::Axis x = report::axis_from_zero(static_cast<double>(last), "step");
  report::Plot plot(std::move(x), starts_at_zero ? report::axis_between(std::min(low, 0.0), high, y)
                                                 : report::axis_between(low, high, y));
  std::vector<report::LegendEntry> legend;
  for (const Line& line : lines) {
    std::vector<report::Point> points;
    for (std::size_t i = 0; i < line.curve.steps.size(); ++i)
      points.push_back({static_cast<double>(line.curve.steps[i]), line.curve.values[i]});
    plot.line(points, line.series, line.name);
    if (points.size() == 1) plot.dot(points.front(), line.series, line.name);
    legend.push_back({line.name, line.series});
  }
  std::string text = note;
  if (hidden > 0) text += fmt::format("{}{} more lines are not shown.", text.empty() ? "" : " ", hidden);
  return report::card(heading, text, plot.svg(heading) + (legend.size() > 1 ? report::legend(legend) : ""));
}

// The same figure of all runs, a line each.
std::vector<Line> of_runs(const std::vector<RunRecord>& runs, const std::string& stage, const std::string& figure) {
  std::vector<Line> lines;
  for (std::size_t r = 0; r < runs.size(); ++r) {
    const StageRecord* record = runs[r].find(stage);
    const Curve* curve = record == nullptr ? nullptr : record->metrics.find(figure);
    if (curve != nullptr) lines.push_back({runs[r].name, static_cast<int>(r), *curve});
  }
  return lines;
}

// Figures that steps log beside their losses.
bool is_loss(const std::string& name) {
  return name.starts_with("train/") && name != "train/learning_rate" && name != "train/gradient_norm";
}

// The loss, then its terms.
std::vector<Line> of_terms(const StageRecord& stage) {
  std::vector<Line> lines;
  if (const Curve* loss = stage.metrics.find("train/loss")) lines.push_back({"loss", 0, *loss});
  for (const auto& [name, curve] : stage.metrics.curves) {
    const bool is_silent = std::ranges::all_of(curve.values, [](double value) { return value == 0; });
    if (!is_loss(name) || name == "train/loss" || is_silent) continue;
    lines.push_back({name.substr(name.find('/') + 1), static_cast<int>(lines.size()), curve});
  }
  return lines;
}

// Seconds of a step spent on waiting, as a share of a usual step.
std::vector<Line> of_waits(const StageRecord& stage) {
  const double step = median_of(stage.metrics.step_seconds);
  std::vector<Line> lines;
  for (const auto& [figure, name] :
       {std::pair("perf/data_wait", "for data"), std::pair("perf/exposed_communication", "for other ranks"),
        std::pair("perf/checkpoint_stall", "for checkpoints")}) {
    const Curve* curve = stage.metrics.find(figure);
    if (curve == nullptr || !(step > 0)) continue;
    Line line{name, static_cast<int>(lines.size()), *curve};
    for (double& value : line.curve.values) value = 100 * value / step;
    lines.push_back(std::move(line));
  }
  return lines;
}

std::string training_charts(const std::vector<RunRecord>& runs, const std::string& stage) {
  std::set<std::string> names;
  const StageRecord* only = nullptr;
  int found = 0;
  for (const RunRecord& run : runs) {
    const StageRecord* record = run.find(stage);
    if (record == nullptr || record->metrics.lines == 0) continue;
    only = record;
    ++found;
    for (const auto& [name, curve] : record->metrics.curves) names.insert(name);
  }
  if (found == 0) return "";
  const bool is_single = found == 1 && runs.size() == 1;
  std::string first = chart("Loss", is_single ? "And its terms, without their weights." : "Of each run.",
                            is_single ? of_terms(*only) : of_runs(runs, stage, "train/loss"), "loss", true);
  for (const auto& [figure, heading] : kValidations) {
    if (names.contains(figure)) first += chart(heading, "", of_runs(runs, stage, figure), "", false);
  }
  first += chart("Throughput", "", of_runs(runs, stage, "perf/images_per_second"), "images/s", true);
  if (is_single)
    first += chart("Waiting", "Share of a usual step, as rank 0 saw it.", of_waits(*only), "% of a step", true);
  std::string more =
      chart("Gradient norm", "Before clipping.", of_runs(runs, stage, "train/gradient_norm"), "norm", true) +
      chart("Learning rate", "", of_runs(runs, stage, "train/learning_rate"), "rate", true);
  if (!is_single) {
    for (const std::string& name : names) {
      if (is_loss(name) && name != "train/loss")
        more += chart(name, "Of each run.", of_runs(runs, stage, name), "loss", true);
    }
  }
  for (const std::string& name : names) {
    const bool is_shown = std::ranges::any_of(kValidations, [&](const auto& each) { return each.first == name; });
    if (name.starts_with("validation/") && !is_shown)
      more += chart(name, "On the validation split.", of_runs(runs, stage, name), "", false);
  }
  return report::cards(first) + (more.empty() ? "" : report::details("More curves of " + stage, report::cards(more)));
}

}  // namespace

std::string curve_sections(const std::vector<RunRecord>& runs) {
  std::vector<std::string> stages;
  for (const RunRecord& run : runs) {
    for (const StageRecord& stage : run.stages) {
      if (stage.stage.entry->training != nullptr && std::ranges::find(stages, stage.id()) == stages.end())
        stages.push_back(stage.id());
    }
  }
  std::string html;
  for (const std::string& stage : stages) {
    const std::string charts = training_charts(runs, stage);
    if (!charts.empty()) html += report::section("Training " + stage, "", charts);
  }
  return html;
}

}  // namespace cskd::run_report

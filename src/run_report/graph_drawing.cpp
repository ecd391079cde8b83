#include "run_report/graph_drawing.h"

#include <algorithm>
#include <map>
#include <set>
#include <vector>

#include <fmt/format.h>

#include "report/html_text.h"
#include "report/number_text.h"

namespace cskd::run_report {
namespace {

// In pixels of a wide screen.
constexpr double kBoxWidth = 146;
constexpr double kBoxHeight = 44;
constexpr double kAcross = 184;  // from one column to the next
constexpr double kDown = 60;
constexpr double kMargin = 8;
constexpr std::size_t kLongestName = 22;  // that fits into a box

struct Place {
  int column = 0;
  int row = 0;
  double left() const { return kMargin + column * kAcross; }
  double top() const { return kMargin + row * kDown; }
  double middle() const { return top() + kBoxHeight / 2; }
};

// What a stage reads of others: those that it needs and those that it judges.
std::set<std::string> inputs_of(const stages::Stage& stage) {
  std::set<std::string> inputs(stage.needs.begin(), stage.needs.end());
  inputs.insert(stage.judged.begin(), stage.judged.end());
  return inputs;
}

std::map<std::string, Place> places_of(const RunRecord& run) {
  std::map<std::string, Place> places;
  std::map<int, int> rows;
  for (const StageRecord& stage : run.stages) {  // each behind those that it needs
    Place place;
    for (const std::string& input : inputs_of(stage.stage)) {
      if (const auto found = places.find(input); found != places.end())
        place.column = std::max(place.column, found->second.column + 1);
    }
    place.row = rows[place.column]++;
    places.emplace(stage.id(), place);
  }
  return places;
}

// All that each stage reads, directly or by way of others.
std::map<std::string, std::set<std::string>> ancestors_of(const RunRecord& run) {
  std::map<std::string, std::set<std::string>> ancestors;
  for (const StageRecord& stage : run.stages) {
    std::set<std::string>& own = ancestors[stage.id()];
    for (const std::string& input : inputs_of(stage.stage)) {
      own.insert(input);
      if (const auto found = ancestors.find(input); found != ancestors.end())
        own.insert(found->second.begin(), found->second.end());
    }
  }
  return ancestors;
}

std::string arrow(const Place& from, const Place& to) {
  const double start = from.left() + kBoxWidth;
  const double bend = 0.5 * (kAcross - kBoxWidth);
  return fmt::format("<path class=\"arrow\" d=\"M{0:.0f} {1:.0f}C{2:.0f} {1:.0f} {3:.0f} {4:.0f} {5:.0f} {4:.0f}\"/>",
                     start, from.middle(), start + bend, to.left() - bend, to.middle(), to.left());
}

std::string box(const StageRecord& stage, const Place& place) {
  const std::string id = stage.id();
  const bool is_long = id.size() > kLongestName;
  const std::string state = stage.completion ? report::duration_text(stage.completion->seconds) : "not complete";
  return fmt::format(
      "<g><title>{}: {}</title><rect class=\"box{}\" x=\"{:.0f}\" y=\"{:.0f}\" width=\"{:.0f}\" height=\"{:.0f}\" "
      "rx=\"7\"/>"
      "<text class=\"row\" x=\"{:.0f}\" y=\"{:.0f}\">{}</text><text x=\"{:.0f}\" y=\"{:.0f}\">{}</text></g>",
      report::html_escaped(id), state, stage.completion ? "" : " open", place.left(), place.top(), kBoxWidth,
      kBoxHeight, place.left() + 10, place.top() + 18,
      report::html_escaped(is_long ? id.substr(0, kLongestName - 1) + "\u2026" : id), place.left() + 10,
      place.top() + 34, state);
}

}  // namespace

std::string graph_drawing(const RunRecord& run) {
  const std::map<std::string, Place> places = places_of(run);
  const std::map<std::string, std::set<std::string>> ancestors = ancestors_of(run);
  int columns = 1;
  int rows = 1;
  for (const auto& [id, place] : places) {
    columns = std::max(columns, place.column + 1);
    rows = std::max(rows, place.row + 1);
  }
  std::string arrows;
  std::string boxes;
  for (const StageRecord& stage : run.stages) {
    const Place& place = places.at(stage.id());
    const std::set<std::string> inputs = inputs_of(stage.stage);
    for (const std::string& input : inputs) {
      const auto from = places.find(input);
      // Also read by way of another input: such an arrow would say nothing new.
      const bool is_indirect = std::ranges::any_of(inputs, [&](const std::string& between) {
        const auto found = ancestors.find(between);
        return found != ancestors.end() && found->second.contains(input);
      });
      if (from != places.end() && !is_indirect) arrows += arrow(from->second, place);
    }
    boxes += box(stage, place);
  }
  const double width = 2 * kMargin + (columns - 1) * kAcross + kBoxWidth;
  return fmt::format(
      "<div class=\"scroll graph\"><svg viewBox=\"0 0 {0:.0f} {1:.0f}\" style=\"width:{0:.0f}px;max-width:none\" "
      "role=\"img\" "
      "aria-label=\"Stages of {2}\">{3}{4}</svg></div>",
      width, 2 * kMargin + (rows - 1) * kDown + kBoxHeight, report::html_escaped(run.name), arrows, boxes);
}

}  // namespace cskd::run_report

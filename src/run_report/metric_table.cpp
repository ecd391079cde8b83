#include "run_report/metric_table.h"

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <fstream>
#include <limits>
#include <optional>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "runtime/error.h"

namespace cskd::run_report {
namespace {

constexpr double kNotFinite = std::numeric_limits<double>::quiet_NaN();
// Longer gaps between lines are pauses: a stop, a validation, a checkpoint.
constexpr double kPause = 10;  // times the median

std::optional<double> number_in(const nlohmann::json& record, const char* key) {
  const auto found = record.find(key);
  if (found == record.end() || !found->is_number()) return std::nullopt;
  return found->get<double>();
}

std::vector<double> finite(const std::vector<double>& values) {
  std::vector<double> kept;
  std::ranges::copy_if(values, std::back_inserter(kept), [](double value) { return std::isfinite(value); });
  return kept;
}

}  // namespace

const Curve* MetricTable::find(const std::string& name) const {
  const auto found = curves.find(name);
  return found == curves.end() ? nullptr : &found->second;
}

MetricTable read_metrics(const std::filesystem::path& stage_folder) {
  MetricTable table;
  const std::filesystem::path path = stage_folder / "metrics.jsonl";
  if (!std::filesystem::exists(path)) return table;
  std::ifstream file(path, std::ios::binary);
  if (!file) runtime::throw_system_error(fmt::format("cannot open {}", path.native()), errno);
  double last_time = kNotFinite;
  std::int64_t last_step = 0;
  for (std::string line; std::getline(file, line);) {
    const nlohmann::json record = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
    const auto step = record.is_object() ? number_in(record, "step") : std::nullopt;
    // Steps are written as they are: no number of them is beyond 2^53.
    if (!step || !(*step >= 0 && *step < 9e15)) {
      ++table.damaged_lines;
      continue;
    }
    ++table.lines;
    const auto at = static_cast<std::int64_t>(*step);
    const double time = number_in(record, "time").value_or(kNotFinite);
    if (at > last_step && std::isfinite(last_time) && time > last_time)
      table.step_seconds.push_back((time - last_time) / static_cast<double>(at - last_step));
    last_time = time;
    last_step = at;
    for (const auto& [name, value] : record.items()) {
      if (name == "step" || name == "time" || !(value.is_number() || value.is_null())) continue;
      Curve& curve = table.curves[name];
      curve.steps.push_back(at);
      curve.values.push_back(value.is_null() ? kNotFinite : value.get<double>());
    }
  }
  const double usual = median_of(table.step_seconds);
  std::erase_if(table.step_seconds, [&](double seconds) { return seconds > kPause * usual; });
  return table;
}

Curve thinned(const Curve& curve, std::size_t count) {
  if (curve.values.size() <= count) return curve;
  Curve thin;
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t first = i * curve.values.size() / count;
    const std::size_t end = (i + 1) * curve.values.size() / count;
    thin.steps.push_back(curve.steps[(first + end - 1) / 2]);
    thin.values.push_back(mean_of({curve.values.begin() + static_cast<std::ptrdiff_t>(first),
                                   curve.values.begin() + static_cast<std::ptrdiff_t>(end)}));
  }
  return thin;
}

double mean_of(const std::vector<double>& values) {
  const std::vector<double> kept = finite(values);
  if (kept.empty()) return kNotFinite;
  double sum = 0;
  for (const double value : kept) sum += value;
  return sum / static_cast<double>(kept.size());
}

double median_of(const std::vector<double>& values) {
  std::vector<double> kept = finite(values);
  if (kept.empty()) return kNotFinite;
  const auto middle = kept.begin() + static_cast<std::ptrdiff_t>(kept.size() / 2);
  std::ranges::nth_element(kept, middle);
  return *middle;
}

}  // namespace cskd::run_report

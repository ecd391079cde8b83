#include "report/metric_log.h"

#include <chrono>
#include <cmath>
#include <limits>
#include <optional>
#include <string_view>
#include <system_error>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "report/appended_file.h"
#include "report/event_file.h"
#include "runtime/atomic_file.h"
#include "runtime/check.h"
#include "runtime/error.h"
#include "runtime/input_file.h"

namespace cskd::report {
namespace {

std::string json_text(const std::string& text) { return nlohmann::json(text).dump(); }

// The shortest text that reads back as the same number.
std::string json_number(double value) { return std::isfinite(value) ? fmt::format("{}", value) : "null"; }

double seconds_to_the_millisecond() {
  const auto since_epoch = std::chrono::system_clock::now().time_since_epoch();
  return static_cast<double>(std::chrono::duration_cast<std::chrono::milliseconds>(since_epoch).count()) / 1000;
}

// Nothing when the line is none of a metric log.
std::optional<std::int64_t> step_of(std::string_view line) {
  const nlohmann::json object = nlohmann::json::parse(line, nullptr, false);
  if (!object.is_object()) return std::nullopt;
  const auto step = object.find("step");
  if (step == object.end() || !step->is_number_integer()) return std::nullopt;
  return step->get<std::int64_t>();
}

// A line without an end that is a whole object lacks the line end only, and is kept as well.
std::string lines_before(std::int64_t first_step, std::string_view text, const std::filesystem::path& path) {
  std::string kept;
  for (size_t start = 0, number = 1; start < text.size(); ++number) {
    const size_t end = text.find('\n', start);
    const std::string_view line = text.substr(start, end - start);
    const std::optional<std::int64_t> step = step_of(line);
    if (!step && end != std::string_view::npos) {
      throw runtime::DataError(fmt::format(
          "{}:{}: the line is damaged; expected a JSON object with a whole number \"step\". Remove the line, or "
          "move the file away",
          path.native(), number));
    }
    if (step && *step < first_step) kept.append(line) += '\n';
    start = end == std::string_view::npos ? text.size() : end + 1;
  }
  return kept;
}

void drop_from(std::int64_t first_step, const std::filesystem::path& path) {
  std::error_code failure;
  if (std::filesystem::status(path, failure).type() == std::filesystem::file_type::not_found) return;
  const std::string text = runtime::read_text_file(path, std::numeric_limits<std::uint64_t>::max());
  const std::string kept = lines_before(first_step, text, path);
  if (kept != text) runtime::write_file_atomically(path, kept);
}

AppendedFile open_log(const std::filesystem::path& path, std::int64_t first_step) {
  drop_from(first_step, path);
  return AppendedFile(path, "metric_log.write");
}

}  // namespace

struct MetricLog::State {
  // In this order: a damaged log is refused before anything is created.
  AppendedFile lines;
  EventFile events;
};

MetricLog::MetricLog(const std::filesystem::path& folder, std::int64_t first_step)
    : state_(new State{open_log(folder / "metrics.jsonl", first_step), EventFile(folder / "events")}) {
  state_->events.add_session_start(first_step);
}

MetricLog::~MetricLog() = default;

void MetricLog::write(std::int64_t step, const std::vector<std::pair<std::string, double>>& values) {
  std::string line = fmt::format("{{\"step\": {}, \"time\": {}", step, json_number(seconds_to_the_millisecond()));
  for (const auto& [tag, value] : values) {
    CSKD_CHECK(tag != "step" && tag != "time", "a metric is called '{}', which every line has already", tag);
    line += fmt::format(", {}: {}", json_text(tag), json_number(value));
  }
  state_->lines.append(line + "}\n");
  for (const auto& [tag, value] : values) state_->events.add_scalar(tag, value, step);
}

}  // namespace cskd::report

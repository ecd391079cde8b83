#include "report/metric_log.h"

#include <cmath>
#include <limits>
#include <optional>
#include <string_view>
#include <system_error>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <spdlog/spdlog.h>

#include "report/appended_file.h"
#include "report/event_file.h"
#include "report/event_record.h"
#include "runtime/atomic_file.h"
#include "runtime/check.h"
#include "runtime/error.h"
#include "runtime/input_file.h"
#include "runtime/unix_time.h"

namespace cskd::report {
namespace {

std::string json_text(const std::string& text) { return nlohmann::json(text).dump(); }

// The shortest text that reads back as the same number.
std::string json_number(double value) { return std::isfinite(value) ? fmt::format("{}", value) : "null"; }

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

std::shared_ptr<AppendedFile> open_log(const std::filesystem::path& path, std::int64_t first_step) {
  drop_from(first_step, path);
  return std::make_shared<AppendedFile>(path, "metric_log.write");
}

template <typename File>
std::unique_ptr<AppendQueue> queue_for(const std::shared_ptr<File>& file, const AppendQueue::Options& options) {
  return std::make_unique<AppendQueue>(
      file->path().native(), [file](std::string_view piece) { file->append(piece); }, options);
}

}  // namespace

struct MetricLog::State {
  std::unique_ptr<AppendQueue> lines;
  std::unique_ptr<AppendQueue> events;
  std::filesystem::path events_path;
  std::uint64_t left_out = 0;  // histograms and images, since there was room
};

MetricLog::MetricLog(const std::filesystem::path& folder, std::int64_t first_step, OnFailure on_failure)
    : MetricLog(folder, first_step, Options{.on_failure = on_failure}) {}

MetricLog::MetricLog(const std::filesystem::path& folder, std::int64_t first_step, Options options)
    : state_(std::make_unique<State>()) {
  // In this order: a damaged log is refused before anything is created.
  const auto lines = open_log(folder / "metrics.jsonl", first_step);
  const auto events = std::make_shared<EventFile>(folder / "events");
  events->add_session_start(first_step);
  state_->events_path = events->path();
  state_->lines = queue_for(lines, options);
  state_->events = queue_for(events, options);
}

MetricLog::~MetricLog() = default;

void MetricLog::write(std::int64_t step, const std::vector<std::pair<std::string, double>>& values) {
  state_->lines->throw_if_failed();
  state_->events->throw_if_failed();
  const double time = runtime::unix_time();
  std::string line = fmt::format("{{\"step\": {}, \"time\": {}", step, json_number(std::floor(time * 1000) / 1000));
  std::string records;
  for (const auto& [tag, value] : values) {
    CSKD_CHECK(tag != "step" && tag != "time", "a metric is called '{}', which every line has already", tag);
    line += fmt::format(", {}: {}", json_text(tag), json_number(value));
    records += scalar_record(time, step, tag, static_cast<float>(value));
  }
  state_->lines->push(line + "}\n");
  if (!records.empty()) state_->events->push(std::move(records));
}

void MetricLog::write_histogram(std::int64_t step, std::string_view tag, const Histogram& histogram) {
  offer(histogram_record(runtime::unix_time(), step, tag, histogram));
}

void MetricLog::write_image(std::int64_t step, std::string_view tag, int width, int height, std::string_view png) {
  offer(image_record(runtime::unix_time(), step, tag, width, height, png));
}

void MetricLog::offer(std::string record) {
  state_->events->throw_if_failed();
  if (!state_->events->try_push(std::move(record))) {
    if (state_->left_out++ == 0) {
      spdlog::warn("{} takes too little: histograms and images are left out until there is room",
                   state_->events_path.native());
    }
  } else if (state_->left_out > 0) {
    spdlog::warn("{} has room again; {} histograms and images were left out", state_->events_path.native(),
                 std::exchange(state_->left_out, 0));
  }
}

void MetricLog::flush() {
  state_->lines->flush();
  state_->events->flush();
}

}  // namespace cskd::report

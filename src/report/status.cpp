#include "report/status.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <system_error>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "runtime/error.h"
#include "runtime/failure_point.h"
#include "runtime/input_file.h"

namespace cskd::report {
namespace {

using nlohmann::json;

constexpr std::int64_t kVersion = 1;
constexpr std::uint64_t kLargestFile = 1 << 18;  // bytes
constexpr std::size_t kLongestName = 256;        // bytes
constexpr std::size_t kLongestMessage = 4096;
constexpr std::size_t kMostFigures = 64;
constexpr std::size_t kMostWarnings = 16;
constexpr double kLatest = 1e11;  // seconds: the year 5138

constexpr std::array<std::pair<RunState, std::string_view>, 4> kStates{{
    {RunState::kRunning, "running"},
    {RunState::kStopped, "stopped"},
    {RunState::kFinished, "finished"},
    {RunState::kFailed, "failed"},
}};

// At the end of a character (UTF-8).
std::string cut(const std::string& text, std::size_t longest) {
  std::size_t size = std::min(text.size(), longest);
  while (size < text.size() && size > 0 && (static_cast<unsigned char>(text[size]) & 0xC0) == 0x80) --size;
  return text.substr(0, size);
}

json number(double value) { return std::isfinite(value) ? json(value) : json(nullptr); }

double seconds(double value) { return std::isfinite(value) ? std::clamp(value, 0.0, kLatest) : 0; }

std::int64_t count(std::int64_t value) { return std::max<std::int64_t>(0, value); }

// Reads one object, and says which key is not as it should be.
class Fields {
 public:
  Fields(const json& object, const std::string& name) : object_(object), name_(name) {
    if (!object.is_object()) refuse("it is not a JSON object");
  }

  const json* find(const std::string& key) const {
    const auto found = object_.find(key);
    return found == object_.end() ? nullptr : &*found;
  }

  std::string text(const std::string& key) const {
    const json& value = get(key);
    if (!value.is_string()) refuse(fmt::format("\"{}\" is not a text", key));
    return value.get<std::string>();
  }

  std::int64_t count(const std::string& key, std::int64_t least, std::int64_t most) const {
    const json& value = get(key);
    const bool is_large =
        value.is_number_unsigned() && value.get<std::uint64_t>() > std::numeric_limits<std::int64_t>::max();
    if (!value.is_number_integer() || is_large || value.get<std::int64_t>() < least || value.get<std::int64_t>() > most)
      refuse(fmt::format("\"{}\" is not a whole number from {} to {}", key, least, most));
    return value.get<std::int64_t>();
  }

  double seconds(const std::string& key) const {
    const json& value = get(key);
    if (!value.is_number() || !(value.get<double>() >= 0 && value.get<double>() <= kLatest))
      refuse(fmt::format("\"{}\" is not a number of seconds", key));
    return value.get<double>();
  }

  bool truth(const std::string& key) const {
    const json& value = get(key);
    if (!value.is_boolean()) refuse(fmt::format("\"{}\" is neither true nor false", key));
    return value.get<bool>();
  }

  double figure(const std::string& key) const {
    const json& value = get(key);
    if (value.is_null()) return std::numeric_limits<double>::quiet_NaN();
    if (!value.is_number() || !std::isfinite(value.get<double>())) refuse(fmt::format("\"{}\" is not a number", key));
    return value.get<double>();
  }

  [[noreturn]] void refuse(const std::string& why) const {
    throw runtime::DataError(fmt::format("{} is damaged: {}", name_, why));
  }

 private:
  const json& get(const std::string& key) const {
    const json* value = find(key);
    if (value == nullptr) refuse(fmt::format("\"{}\" is missing", key));
    return *value;
  }

  const json& object_;
  const std::string& name_;
};

RunState state_from(const Fields& fields) {
  const std::string text = fields.text("state");
  for (const auto& [state, name] : kStates) {
    if (text == name) return state;
  }
  fields.refuse("\"state\" is not a state of a run");
}

Status status_from(const Fields& fields, const std::string& name) {
  constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max();
  constexpr std::int64_t kMostInt = std::numeric_limits<int>::max();
  Status status;
  status.state = state_from(fields);
  status.stage = fields.text("stage");
  status.step = fields.count("step", 0, kMost);
  status.steps = fields.count("steps", 0, kMost);
  status.unit = fields.text("unit");
  if (fields.find("images_per_second")) status.images_per_second = fields.figure("images_per_second");
  if (fields.find("seconds_left")) status.seconds_left = fields.seconds("seconds_left");
  if (fields.find("loss")) status.loss = fields.figure("loss");
  if (const json* found = fields.find("validation")) {
    const Fields validation(*found, name);
    Status::Validation read{validation.count("step", 0, kMost), {}};
    const json* table = validation.find("figures");
    if (table == nullptr) validation.refuse("\"figures\" is missing");
    const Fields figures(*table, name);
    for (const auto& [key, value] : table->items()) read.figures[key] = figures.figure(key);
    status.validation = std::move(read);
  }
  if (const json* found = fields.find("checkpoint")) {
    const Fields checkpoint(*found, name);
    status.checkpoint = {checkpoint.count("step", 0, kMost), checkpoint.seconds("time")};
  }
  status.skipped_steps = fields.count("skipped_steps", 0, kMost);
  status.damaged_pictures = fields.count("damaged_pictures", 0, kMost);
  status.ranks = static_cast<int>(fields.count("ranks", 1, kMostInt));
  if (const json* found = fields.find("goodput")) {
    const Fields goodput(*found, name);
    status.goodput = Goodput{.stage = goodput.text("stage"),
                             .allocation = goodput.text("allocation"),
                             .step = goodput.count("step", 0, kMost),
                             .starts = goodput.count("starts", 1, kMost),
                             .lost_steps = goodput.count("lost_steps", 0, kMost),
                             .held = goodput.seconds("held_seconds"),
                             .kept = goodput.seconds("kept_seconds"),
                             .ended = goodput.truth("ended")};
  }
  if (const json* found = fields.find("warnings")) {
    if (!found->is_array()) fields.refuse("\"warnings\" is not a list");
    for (const json& warning : *found) {
      if (!warning.is_string()) fields.refuse("\"warnings\" holds something other than texts");
      status.warnings.push_back(warning.get<std::string>());
    }
  }
  status.message = fields.text("message");
  status.host = fields.text("host");
  status.pid = fields.count("pid", 1, kMostInt);
  status.process_namespace = fields.text("process_namespace");
  status.started = fields.seconds("started");
  status.updated = fields.seconds("updated");
  status.last_step_time = fields.seconds("last_step_time");
  status.step_seconds = fields.seconds("step_seconds");
  status.longest_step_seconds = fields.seconds("longest_step_seconds");
  return status;
}

// Network file systems may take a file away under its reader when another is put in its place.
std::string read_text(const std::filesystem::path& path) {
  constexpr int kTries = 3;
  for (int i = 1;; ++i) {
    try {
      runtime::failure_point("status.read", path.native());
      return runtime::read_text_file(path, kLargestFile);
    } catch (const runtime::DataError&) {
      throw;
    } catch (const runtime::Error&) {
      if (i == kTries) throw;
    }
  }
}

}  // namespace

std::string_view to_string(RunState state) {
  for (const auto& [value, name] : kStates) {
    if (value == state) return name;
  }
  return "unknown";
}

nlohmann::ordered_json to_json(const Status& status) {
  nlohmann::ordered_json result{
      {"version", kVersion},        {"state", to_string(status.state)}, {"stage", cut(status.stage, kLongestName)},
      {"step", count(status.step)}, {"steps", count(status.steps)},     {"unit", cut(status.unit, kLongestName)}};
  if (status.images_per_second) result["images_per_second"] = number(*status.images_per_second);
  if (status.seconds_left) result["seconds_left"] = seconds(*status.seconds_left);
  if (status.loss) result["loss"] = number(*status.loss);
  if (status.validation) {
    nlohmann::ordered_json figures = nlohmann::ordered_json::object();
    for (const auto& [key, value] : status.validation->figures) {
      if (figures.size() < kMostFigures) figures[cut(key, kLongestName)] = number(value);
    }
    result["validation"] = {{"step", count(status.validation->step)}, {"figures", figures}};
  }
  if (status.checkpoint)
    result["checkpoint"] = {{"step", count(status.checkpoint->step)}, {"time", seconds(status.checkpoint->time)}};
  result["skipped_steps"] = count(status.skipped_steps);
  result["damaged_pictures"] = count(status.damaged_pictures);
  result["ranks"] = std::max(1, status.ranks);
  if (status.goodput) {
    const Goodput& goodput = *status.goodput;
    result["goodput"] = {{"stage", cut(goodput.stage, kLongestName)},
                         {"share", number(goodput.share())},
                         {"starts", std::max<std::int64_t>(1, goodput.starts)},
                         {"step", count(goodput.step)},
                         {"lost_steps", count(goodput.lost_steps)},
                         {"held_seconds", seconds(goodput.held)},
                         {"kept_seconds", seconds(goodput.kept)},
                         {"ended", goodput.ended},
                         {"allocation", cut(goodput.allocation, kLongestName)}};
  }
  nlohmann::ordered_json warnings = nlohmann::ordered_json::array();
  for (const std::string& warning : status.warnings) {
    if (warnings.size() < kMostWarnings) warnings.push_back(cut(warning, kLongestName));
  }
  if (!warnings.empty()) result["warnings"] = warnings;
  result["message"] = cut(status.message, kLongestMessage);
  result["host"] = cut(status.host, kLongestName);
  result["pid"] = std::max<std::int64_t>(1, status.pid);
  result["process_namespace"] = cut(status.process_namespace, kLongestName);
  result["started"] = seconds(status.started);
  result["updated"] = seconds(status.updated);
  result["last_step_time"] = seconds(status.last_step_time);
  result["step_seconds"] = seconds(status.step_seconds);
  result["longest_step_seconds"] = seconds(status.longest_step_seconds);
  return result;
}

Status parse_status(std::string_view text, const std::string& name) {
  const json object = json::parse(text, nullptr, false);
  const Fields fields(object, name);
  const std::int64_t version = fields.count("version", 1, std::numeric_limits<std::int64_t>::max());
  if (version > kVersion) {
    throw runtime::DataError(fmt::format("{} is of version {}, written by a newer cskd; this one reads version {}",
                                         name, version, kVersion));
  }
  return status_from(fields, name);
}

std::filesystem::path status_path(const std::filesystem::path& run) { return run / "status.json"; }

Status read_status(const std::filesystem::path& run) {
  const std::filesystem::path path = status_path(run);
  std::error_code failure;
  if (!std::filesystem::is_directory(run, failure)) {
    throw runtime::UsageError(
        fmt::format("{} is not a run folder: {}", run.native(),
                    std::filesystem::exists(run, failure) ? "it is a file" : "it does not exist"));
  }
  if (std::filesystem::status(path, failure).type() == std::filesystem::file_type::not_found) {
    throw runtime::UsageError(fmt::format("{} holds no status.json: has a stage of it been started?", run.native()));
  }
  return parse_status(read_text(path), path.native());
}

}  // namespace cskd::report

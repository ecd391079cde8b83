#include "runtime/trace.h"

#include <algorithm>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace cskd::runtime {
namespace {

using Json = nlohmann::ordered_json;

double microseconds(std::chrono::steady_clock::duration duration) {
  return std::chrono::duration<double, std::micro>(duration).count();
}

Json metadata(const char* kind, int process, std::uint64_t thread, const Json& arguments) {
  return {{"ph", "M"}, {"name", kind}, {"pid", process}, {"tid", thread}, {"args", arguments}};
}

// Names come from files, and need not be UTF-8.
void append(std::string& text, const Json& event) {
  if (!text.empty()) text += ",\n";
  text += event.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace

void Trace::start(Time origin) {
  const std::lock_guard lock(mutex_);
  origin_ = origin;
  spans_.clear();
  is_on_ = true;
}

void Trace::add(const std::string& track, std::string name, Time start, Time end, Details details, Track kind) {
  if (!is_on_) return;
  const std::lock_guard lock(mutex_);
  if (end <= origin_) return;
  auto place = std::find(tracks_.begin(), tracks_.end(), track);
  if (place == tracks_.end()) place = tracks_.insert(tracks_.end(), track);
  spans_.push_back({static_cast<std::uint64_t>(place - tracks_.begin()) + 1, std::move(name), std::max(start, origin_),
                    end, std::move(details), kind});
}

std::string Trace::take_events(int rank, const std::string& name) {
  const std::lock_guard lock(mutex_);
  std::string text;
  append(text, metadata("process_name", rank, 0, {{"name", name}}));
  append(text, metadata("process_sort_index", rank, 0, {{"sort_index", rank}}));
  for (std::uint64_t track = 1; track <= tracks_.size(); ++track) {
    append(text, metadata("thread_name", rank, track, {{"name", tracks_[track - 1]}}));
    append(text, metadata("thread_sort_index", rank, track, {{"sort_index", track}}));
  }
  // Of spans that begin together the longer one holds the others.
  std::stable_sort(spans_.begin(), spans_.end(),
                   [](const Span& a, const Span& b) { return a.start != b.start ? a.start < b.start : a.end > b.end; });
  std::uint64_t id = 0;
  for (const Span& span : spans_) {
    Json event{{"name", span.name},
               {"cat", tracks_[span.track - 1]},
               {"pid", rank},
               {"tid", span.track},
               {"ts", microseconds(span.start - origin_)}};
    if (!span.details.empty()) {
      for (const auto& [key, value] : span.details) event["args"][key] = value;
    }
    if (span.kind == Track::kNested) {
      event["ph"] = "X";
      event["dur"] = microseconds(span.end - span.start);
      append(text, event);
      continue;
    }
    event["ph"] = "b";
    event["id"] = fmt::format("{}-{}", rank, ++id);
    append(text, event);
    event["ph"] = "e";
    event["ts"] = microseconds(span.end - origin_);
    append(text, event);
  }
  spans_.clear();
  return text;
}

std::string trace_file(const std::vector<std::string>& events_of_ranks) {
  std::string text = "{\"displayTimeUnit\": \"ms\", \"traceEvents\": [\n";
  bool is_first = true;
  for (const std::string& events : events_of_ranks) {
    if (events.empty()) continue;
    if (!is_first) text += ",\n";
    text += events;
    is_first = false;
  }
  return text + "\n]}\n";
}

}  // namespace cskd::runtime

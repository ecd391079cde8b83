// The figures of a run as they arise: metrics.jsonl, the source of truth, and TensorBoard events with the same tags.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace cskd::report {

// Lines of metrics.jsonl: {"step": 12, "time": 1764000000.123, "train/loss": 0.25, ...}; NaN and infinities are written
// as null. One writer per file.
class MetricLog {
 public:
  // Appends to <folder>/metrics.jsonl and opens an event file in <folder>/events. When the run resumes at `first_step`,
  // lines of that step and later, and a half-written last line, are dropped first (the file is rewritten atomically),
  // so that the log tells one undisturbed story; TensorBoard is told the same. Throws DataError, naming file and line
  // and changing nothing, when any other line is damaged; Error when a file cannot be read or written.
  MetricLog(const std::filesystem::path& folder, std::int64_t first_step);
  ~MetricLog();
  MetricLog(const MetricLog&) = delete;
  MetricLog& operator=(const MetricLog&) = delete;

  // One line and one event for each value; written through to the kernel before it returns. Throws Error, e.g. when the
  // disk is full; the log then ends with a whole line. REQUIRES: tags are UTF-8, and none is "step" or "time"
  void write(std::int64_t step, const std::vector<std::pair<std::string, double>>& values);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace cskd::report

// The figures of a run as they arise: metrics.jsonl, the source of truth, and TensorBoard events with the same tags.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "report/append_queue.h"
#include "report/histogram.h"

namespace cskd::report {

// Lines of metrics.jsonl: {"step": 12, "time": 1764000000.123, "train/loss": 0.25, ...}; NaN and infinities are written
// as null. "time" is the system's clock, which may have been set back between two lines. One writer per file.
//
// Note [Logs and slow disks]
// write() and its like only queue: a thread for each of the two files appends, and each file gets all of it once and in
// order, whatever becomes of the other. What is made from what was logged, such as a checkpoint, must not be newer than
// the log: flush() first. A killed process loses what was not flushed.
// Lines and scalars are never left out. Histograms and images are, with a warning, where more than Options::most_bytes
// of events wait.
class MetricLog {
 public:
  using Options = AppendQueue::Options;

  // Appends to <folder>/metrics.jsonl and opens an event file in <folder>/events. When the run resumes at `first_step`,
  // lines of that step and later, and a half-written last line, are dropped first (the file is rewritten atomically),
  // so that the log tells one undisturbed story; TensorBoard is told the same. Throws DataError, naming file and line
  // and changing nothing, when any other line is damaged; Error when a file cannot be read or written.
  MetricLog(const std::filesystem::path& folder, std::int64_t first_step, OnFailure on_failure = OnFailure::kThrow);
  MetricLog(const std::filesystem::path& folder, std::int64_t first_step, Options options);
  // Writes what is queued; logs what it could not write.
  ~MetricLog();
  MetricLog(const MetricLog&) = delete;
  MetricLog& operator=(const MetricLog&) = delete;

  // One line, and one event for each value. Throws Error as on_failure says; the log then ends with a whole line. One
  // thread at a time; so below. REQUIRES: tags are UTF-8, and none is "step" or "time"
  void write(std::int64_t step, const std::vector<std::pair<std::string, double>>& values);

  // Events only.
  void write_histogram(std::int64_t step, std::string_view tag, const Histogram& histogram);
  // `png`: a PNG file of that size, RGB.
  void write_image(std::int64_t step, std::string_view tag, int width, int height, std::string_view png);

  // Returns when all that was written before is in the kernel's hands; tries at once what failed before. Throws Error.
  // Any thread.
  void flush();

 private:
  void offer(std::string record);

  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace cskd::report

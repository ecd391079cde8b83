// TensorBoard event files.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "report/histogram.h"

namespace cskd::report {

// Writes one file `events.out.tfevents.<seconds>.<host>.<pid>.<n>` in a folder, whose name sorts behind those of its n
// event files. A restarted run writes another file beside the first; TensorBoard merges them by step. What a call adds
// is written whole with one write(2), so a killed process leaves complete records but possibly the last. Calls throw
// Error when the disk is full; the file is then as it was before. Not thread-safe.
class EventFile {
 public:
  // Creates the folder and the file and writes the version record. Throws Error.
  explicit EventFile(const std::filesystem::path& folder);
  ~EventFile();
  EventFile(const EventFile&) = delete;
  EventFile& operator=(const EventFile&) = delete;

  // The run starts, or starts again, at `step`: TensorBoard forgets what earlier files hold of it and later steps. (Its
  // fast loader forgets only once a tag comes again, and then from that step on.)
  void add_session_start(std::int64_t step);

  // Shown in single precision. REQUIRES: tag is UTF-8; so below
  void add_scalar(std::string_view tag, std::int64_t step, double value);

  void add_histogram(std::string_view tag, std::int64_t step, const Histogram& histogram);

  // `png`: a PNG file of that size, RGB.
  void add_image(std::string_view tag, std::int64_t step, int width, int height, std::string_view png);

  // One or more records of event_record.h.
  void append(std::string_view records);

  const std::filesystem::path& path() const noexcept;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace cskd::report

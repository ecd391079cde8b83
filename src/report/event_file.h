// TensorBoard event files: TFRecord framing (u64 length, masked CRC32C of it, payload, masked CRC32C of it) around
// tensorflow.Event messages.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

namespace cskd::report {

// Writes one file `events.out.tfevents.<seconds>.<host>.<pid>.<n>` in a folder, whose name sorts behind those of its n
// event files. A restarted run writes another file beside the first; TensorBoard merges them by step. Every record is
// written whole with one write(2), so a killed process leaves complete records but possibly the last. Not thread-safe.
class EventFile {
 public:
  // Creates the folder and the file and writes the version record. Throws Error.
  explicit EventFile(const std::filesystem::path& folder);
  ~EventFile();
  EventFile(const EventFile&) = delete;
  EventFile& operator=(const EventFile&) = delete;

  // The run starts, or starts again, at `step`: TensorBoard forgets what earlier files hold of it and later steps. (Its
  // fast loader forgets only once a tag comes again, and then from that step on.) Throws Error when the disk is full.
  void add_session_start(std::int64_t step);

  // Shown in single precision. Throws Error when the disk is full. REQUIRES: tag is UTF-8
  void add_scalar(const std::string& tag, double value, std::int64_t step);

  const std::filesystem::path& path() const noexcept;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace cskd::report

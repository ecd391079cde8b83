// TensorBoard event files: TFRecord framing (u64 length, masked CRC32C of it, payload, masked CRC32C of it) around
// tensorflow.Event messages.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

namespace cskd::report {

// Writes one file `events.out.tfevents.<seconds>.<host>.<pid>.<n>` in a folder. A restarted run writes another file beside
// the first; TensorBoard merges them by step. Every record is written whole with one write(2), so a killed process
// leaves complete records but possibly the last. Not thread-safe.
class EventFile {
 public:
  // Creates the folder and the file and writes the version record. Throws Error.
  explicit EventFile(const std::filesystem::path& folder);
  ~EventFile();
  EventFile(const EventFile&) = delete;
  EventFile& operator=(const EventFile&) = delete;

  // Throws Error when the disk is full.
  void add_scalar(const std::string& tag, double value, std::int64_t step);

  const std::filesystem::path& path() const noexcept;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace cskd::report

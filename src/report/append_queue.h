// Pieces on their way to a file: who makes them never waits for a disk.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <thread>

namespace cskd::report {

// What becomes of a piece that cannot be written.
enum class OnFailure {
  kThrow,  // neither it nor any behind it is written; the next call throws
  kRetry,  // it is kept and tried again, before those behind it
};

// A thread of its own appends the pieces, each once and in their order. Thread-safe.
//
// With kRetry the first failure and the recovery from it are logged; only flush() throws.
class AppendQueue {
 public:
  struct Options {
    OnFailure on_failure = OnFailure::kThrow;
    std::size_t most_bytes = std::size_t{64} << 20;  // beyond which try_push() takes nothing
    std::chrono::milliseconds retry_after{std::chrono::seconds(5)};
    std::chrono::milliseconds flush_timeout{std::chrono::minutes(10)};  // longest wait of flush()
    std::chrono::milliseconds close_timeout{std::chrono::seconds(30)};  // and of the destructor
  };

  // `append` puts a whole piece behind those before or throws and puts nothing. The queue's thread calls it, of a disk
  // that hangs even after the queue is gone: it owns what it needs. `name`: of the file, for messages.
  AppendQueue(std::string name, std::function<void(std::string_view)> append, Options options);
  // Writes what waits, with one more try of a piece that failed. What is then left is lost: logged, unless the error
  // was thrown before.
  ~AppendQueue();
  AppendQueue(const AppendQueue&) = delete;
  AppendQueue& operator=(const AppendQueue&) = delete;

  // Returns at once.
  void push(std::string piece);
  // The same where there is room for it; otherwise false.
  bool try_push(std::string piece);

  // Returns when all that was pushed before is appended; tries what fails again at once. Throws what it fails with
  // then, and Error when it takes longer than flush_timeout.
  void flush();

  // kThrow: throws what the thread failed with.
  void throw_if_failed();

 private:
  struct State;
  std::shared_ptr<State> state_;  // shared with the thread
  std::thread thread_;
};

}  // namespace cskd::report

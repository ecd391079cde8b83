// The writer of checkpoints while training goes on.
//
// Note [Asynchronous checkpoints]
// start() returns at once: a thread copies the tensors into memory that it keeps, then writes the copy. The tensors may
// not change before wait_until_copied() returned. Weights and optimiser state change only in the optimiser's step, so
// the trainer waits just before it, and the copy is made during the next forward and backward pass. One checkpoint is
// under way at a time; start() waits for the one before.
#pragma once

#include <atomic>
#include <cstdint>
#include <exception>
#include <filesystem>
#include <functional>
#include <future>
#include <optional>
#include <vector>

#include "runtime/trace.h"
#include "training/checkpoint.h"

namespace cskd::training {

class CheckpointWriter {
 public:
  struct Options {
    std::filesystem::path folder;
    Retention retention;
    // A write that fails is a warning, and the next one may succeed; finish() alone throws.
    bool goes_on = false;
    runtime::Trace* trace = nullptr;  // outlives the writer
    // Both are called by the writer's thread. `before_commit` as in write_checkpoint().
    std::function<void()> before_commit;
    std::function<void(std::uint64_t step)> written;
  };

  // What is left of an earlier process must be removed before.
  explicit CheckpointWriter(Options options);
  // Waits for the write under way; its error is logged, since a destructor cannot throw.
  ~CheckpointWriter();
  CheckpointWriter(const CheckpointWriter&) = delete;
  CheckpointWriter& operator=(const CheckpointWriter&) = delete;

  // Note [Asynchronous checkpoints]. Throws what the write before failed with, unless options.goes_on.
  void start(CheckpointContents contents);
  void wait_until_copied();
  // Throws what a write that is done failed with, unless options.goes_on. Does not wait.
  void throw_if_failed();
  // Waits. Throws what the last write failed with.
  void finish();

  // Seconds that the longest write so far took, its copy included.
  double longest_write() const noexcept { return longest_write_.load(); }

 private:
  class CopySource;

  void copy(CheckpointContents& contents, const CopySource& source);
  void write(const CheckpointContents& contents);
  void take_result();

  Options options_;
  std::vector<at::Tensor> copies_;  // by position, from one checkpoint to the next
  std::future<void> copied_;
  std::future<void> written_;
  std::exception_ptr failure_;  // of the last write
  std::atomic<double> longest_write_{0};
};

}  // namespace cskd::training

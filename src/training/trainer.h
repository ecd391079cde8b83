// The one training loop.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "config/training.pb.h"
#include "distributed/communicator.h"
#include "distributed/pace.h"
#include "runtime/inputs.h"
#include "runtime/trace.h"
#include "runtime/world.h"
#include "training/capsule.h"
#include "training/task.h"

namespace cskd::training {

struct TrainerOptions {
  config::Training training;
  std::uint64_t seed = 1;
  std::filesystem::path folder;           // of the stage: checkpoints/ is written there
  runtime::Inputs inputs;                 // all that decides what is computed; a checkpoint with others is refused
  std::set<std::string> allowed_changes;  // but for these of them
  bool resume = true;                     // from the newest whole checkpoint; otherwise there must be none
  std::chrono::milliseconds start_timeout{std::chrono::minutes(30)};  // longest wait for another rank before a step
  std::chrono::milliseconds step_timeout{std::chrono::minutes(10)};   // and in one
  distributed::PaceMeter* pace = nullptr;  // may be null: takes what each step's time of this rank went into
  // If there is one, trace_steps of the training are written into it, after trace_after others, and then to
  // folder/trace.json, of the first kMostTracedRanks ranks.
  runtime::Trace* trace = nullptr;
  std::uint64_t trace_after = 0;
  std::uint64_t trace_steps = 0;
  // Steps between two calls of TrainingObserver::tensors() and pictures(); 0: none.
  std::uint64_t tensors_every = 0;
  std::uint64_t pictures_every = 0;
  CapsuleOrigin origin;  // for steps that go wrong, kept in folder/capsules
};

constexpr int kMostTracedRanks = 16;

// What a step did, for logs and displays; rank 0 tells it.
struct StepReport {
  std::uint64_t step = 0;   // steps that are done
  std::uint64_t steps = 0;  // of the whole training
  std::int64_t images = 0;  // of this step, all ranks
  double seconds = 0;       // of this step
  // "train/loss", "train/learning_rate", "train/gradient_norm", the task's own, "perf/images_per_second",
  // "perf/data_wait", "perf/exposed_communication" (seconds of rank 0), "perf/overlap" (share of the communication that
  // backward hid), "perf/bus_bandwidth/bucket_<n>" (GB/s; more than one rank), "perf/checkpoint_stall" (seconds that
  // the step waited for a checkpoint), "data/damaged" (MicroBatchResult::damaged of all ranks); where the step
  // validated, what Stage::validate() gave.
  std::vector<std::pair<std::string, double>> figures;
  bool validated = false;
  std::uint64_t skipped = 0;  // steps that were left out so far
  double kept_seconds = 0;    // of all steps so far, over all starts, without those that a restart lost
};

class TrainingObserver {
 public:
  virtual ~TrainingObserver() = default;
  virtual void started(std::uint64_t first_step, std::uint64_t steps) = 0;
  virtual void stepped(const StepReport& report) = 0;
  // Weights, and gradients as the optimiser took them, of the step that is about to be reported.
  virtual void tensors(std::uint64_t step, const NamedTensors& weights, const NamedTensors& gradients) = 0;
  virtual void pictures(std::uint64_t step, const at::Tensor& pictures) = 0;  // as Stage::pictures()
  // By another thread: what was reported so far has to be on disk when this returns, for a checkpoint is about to be
  // committed; and this one was. The first may throw.
  virtual void flush() = 0;
  virtual void checkpointed(std::uint64_t step) = 0;
};

struct TrainingOutcome {
  bool finished = false;  // false: a signal asked to stop, a checkpoint was written, exit code 75
  std::uint64_t steps = 0;
  std::uint64_t images = 0;  // over all starts and ranks
  double seconds = 0;        // over all starts
  double loss = 0;           // of the last step
};

// Trains the task's model to the end, or until a StopSignal. Collective; options are equal on all ranks. On return
// every rank holds the same weights and averages. `observer` is called on rank 0 only.
//
// Weights after k steps do not depend on where the run was stopped and resumed. A step whose gradient is not finite is
// left out on every rank and counted; more than kMostSkipped in a row end the training. The first such steps are kept
// (capsule.h).
//
// Throws UsageError when the checkpoints were made from other inputs, naming them, or validation is asked for and there
// is none; DataError when there are checkpoints but none is whole; Error when a checkpoint cannot be written (unless
// training.when_full says go_on), a rank is lost, or the loss stays infinite.
TrainingOutcome train(const Task& task, const TrainerOptions& options, runtime::World& world,
                      distributed::Communicator& communicator, TrainingObserver& observer);

constexpr int kMostSkipped = 20;

}  // namespace cskd::training

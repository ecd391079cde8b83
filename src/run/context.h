// The context that every stage works in.
#pragma once

#include <cstdint>
#include <functional>
#include <set>
#include <string>

#include "config/config.pb.h"
#include "distributed/communicator.h"
#include "distributed/pace.h"
#include "run/run_folder.h"
#include "runtime/trace.h"
#include "runtime/world.h"

namespace cskd::training {
class TrainingObserver;
struct ReplayJob;
}  // namespace cskd::training

namespace cskd::run {

struct Context {
  const config::Config& config;
  runtime::World& world;
  distributed::Communicator& communicator;
  RunFolder folder;
  int loader_threads = 1;
  bool resume = true;
  // Names of inputs that may differ from those of a training that is resumed, or is complete.
  std::set<std::string> allowed_changes;
  // The stage was asked for by its own name: sources are looked through for what was added since they were packed.
  bool looks_for_new = false;
  // Rank 0: how far a stage that does not train is.
  std::function<void(const std::string& stage, std::int64_t done, std::int64_t total)> progress;
  // Rank 0: who watches the training of a stage. Never null.
  training::TrainingObserver* observer = nullptr;
  distributed::PaceMeter* pace = nullptr;  // of trainings on several ranks
  runtime::Trace* trace = nullptr;         // of trainings, unless logging.trace_steps is 0
  training::ReplayJob* replay = nullptr;   // a training computes this step again, and nothing else
};

// One stage's work. `done_before`: it was complete already, and nothing was done.
struct StageOutcome {
  Completion completion;
  bool done_before = false;
  bool finished = true;  // false: stopped by a signal at a checkpoint; exit code 75
};

}  // namespace cskd::run

// A kept step (capsule.h) computed again in one process, and what that says of the cause.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "runtime/world.h"
#include "training/capsule.h"
#include "training/trainer.h"

namespace cskd::training {

// Who is to blame for a step.
enum class Blame {
  kMachine,  // what a rank computed then cannot be computed from the same numbers
  kData,     // some micro-batches are wrong, others of the same weights are not
  kWeights,  // all micro-batches are alike: the weights had come this far, by the learning rate or the program
};
const char* name_of(Blame blame);  // "machine", "data", "weights"

struct ReplayedMicroBatch {
  Capsule::MicroBatch then;
  std::string loss;  // now
  std::vector<std::pair<std::string, std::string>> figures;
  bool gradient_is_finite = true;
  bool is_same = true;   // to the bit
  bool is_close = true;  // to what another kind of processor may make of it
  bool is_sound = true;  // finite, with its gradient, now
};

struct ReplayReport {
  std::vector<ReplayedMicroBatch> micro_batches;
  Blame blame = Blame::kMachine;
  std::string verdict;  // sentences
};

// A kept step that a stage is to compute again in place of its training.
struct ReplayJob {
  std::filesystem::path folder;
  Capsule capsule;
  std::optional<ReplayReport> report;  // once it did
};

// Computes every micro-batch of the step, forward and backward, from the capsule's checkpoint. `task.model` uses the
// capsule's settings. REQUIRES: a world of one. Throws UsageError where data or settings are not those of then, naming
// them, DataError where the checkpoint is damaged.
ReplayReport replay(const Task& task, const TrainerOptions& options, const ReplayJob& job, runtime::World& world,
                    distributed::Communicator& communicator);

}  // namespace cskd::training

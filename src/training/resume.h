// Taking a training up where a checkpoint left it.
#pragma once

#include <filesystem>
#include <optional>

#include "optim/optimizer.h"
#include "training/state.pb.h"
#include "training/trainer.h"

namespace cskd::training {

// Fills the stage's weights, their average, the optimiser's state and the objective's memory from the newest whole
// checkpoint in `folder`, which rank 0 picks, and returns its state; nothing when there is none. Unfinished checkpoints
// are removed. Collective. Throws UsageError, naming what differs, when it was made from other inputs than
// options.inputs, or may not be resumed; DataError as newest_checkpoint(), or when it does not fit the model.
std::optional<State> resume(const std::filesystem::path& folder, const TrainerOptions& options, const Task& task,
                            const optim::Optimizer& optimizer, runtime::World& world);

}  // namespace cskd::training

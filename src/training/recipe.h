// A configuration's optimiser, learning rate and retention of checkpoints.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "config/training.pb.h"
#include "data/sampler.h"
#include "optim/optimizer.h"
#include "optim/schedule.h"
#include "training/checkpoint.h"
#include "training/task.h"

namespace cskd::training {

std::unique_ptr<optim::Optimizer> make_optimizer(const config::Training& training, TrainedModel& model);

// Its peak is scaled by the global batch as the configuration says.
optim::Schedule make_schedule(const config::Training& training);

bool is_elastic(const config::Training& training);

// How `rank` of `ranks` takes its part of a batch. Throws UsageError, with the remedy, when the training cannot be
// shared out as its configuration says; `table` names it, e.g. "align.training".
data::BatchLayout require_layout(const std::string& table, const config::Training& training, int rank, int ranks);

// Of LibTorch's generator in micro-batch `number` of a step (from 0): dropout and the like depend on nothing else.
std::uint64_t micro_batch_seed(std::uint64_t seed, const data::BatchLayout& layout, std::uint64_t step,
                               std::uint64_t number);

// Throws UsageError when checkpoints are to be compared and nothing validates them.
void require_judge(const std::string& table, const config::Training& training);

// Throws as require_judge().
Retention make_retention(const config::Training& training, const Task& task);

}  // namespace cskd::training

// The start-up probe of a training: its first micro-batch, timed as the training will compute it.
#pragma once

#include "distributed/communicator.h"
#include "training/compute_probe.h"
#include "training/task.h"

namespace cskd::training {

// Note [Rehearsal]
// What a training computes must not depend on whether it was probed. So the probe takes the task's rehearsal, not a
// micro-batch out of its order, and leaves behind what it found: weights in the memory that they had, BatchNorm's
// statistics, no gradients, the states of random number generators. Only the model's settings are those of the last
// case: TrainedModel::use() has to follow. The weights are those before the first step, and before a checkpoint is
// loaded: how long a micro-batch takes does not depend on them.
//
// Collective; the same on every rank. Every rank has micro-batches of its own (data::make_batch_layout()), and times
// its first. Takes the time of a few of them. Throws what the objective throws; the training cannot go on then.
// REQUIRES: the objective has not started
ProbeResult probe_task(const Task& task, const GivenSettings& given, distributed::Communicator& communicator);

}  // namespace cskd::training

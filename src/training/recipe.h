// A configuration's optimiser, learning rate and retention of checkpoints.
#pragma once

#include <memory>

#include "config/training.pb.h"
#include "optim/optimizer.h"
#include "optim/schedule.h"
#include "training/checkpoint.h"
#include "training/stage.h"

namespace cskd::training {

std::unique_ptr<optim::Optimizer> make_optimizer(const config::Training& training, Stage& stage);

// Its peak is scaled by the global batch as the configuration says.
optim::Schedule make_schedule(const config::Training& training);

// Throws UsageError when checkpoints are to be compared and nothing validates them.
Retention make_retention(const config::Training& training, const Stage& stage);

}  // namespace cskd::training

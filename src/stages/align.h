// Stage I: an encoder learns a tower's pooled features of the cached views.
#pragma once

#include <string>

#include "run/context.h"
#include "stages/training_setup.h"

namespace cskd::stages {

// <run>/align/<name>: model.safetensors (the moving average of the encoder and projector), checkpoints/. Collective.
// Trains on every unlabelled and training picture; labels are not looked at.
run::StageOutcome run_align(const run::Context& context, const std::string& name);

TrainingSetup align_training(const config::Config& config, const std::string& name);

}  // namespace cskd::stages

// Stage I: an encoder learns CLIP's pooled features of the cached views.
#pragma once

#include "run/context.h"
#include "stages/training_setup.h"

namespace cskd::stages {

// <run>/align: model.safetensors (the moving average of the encoder and projector), checkpoints/. Collective. Trains on
// every unlabelled and training picture; labels are not looked at.
run::StageOutcome run_align(const run::Context& context);

TrainingSetup align_training(const config::Config& config);

}  // namespace cskd::stages

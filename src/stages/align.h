// Stage I: an encoder learns what towers see in views of pictures.
#pragma once

#include <string>

#include "run/context.h"
#include "stages/training_setup.h"

namespace cskd::stages {

// <run>/align/<name>: model.safetensors (the moving average of the encoder and projectors), checkpoints/. Collective.
// Trains on every unlabelled and training picture; labels are not looked at.
run::StageOutcome run_align(const run::Context& context, const std::string& name);

TrainingSetup align_training(const config::Config& config, const std::string& name);

// Whether it takes the towers' features from their caches.
bool align_reads_caches(const config::Config& config, const std::string& name);

// Throws UsageError for settings that exclude each other, with the remedy.
void require_align(const config::Config& config, const std::string& name);

}  // namespace cskd::stages

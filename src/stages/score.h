// Trainings of models that score pictures.
#pragma once

#include <string>

#include "run/context.h"
#include "stages/training_setup.h"

namespace cskd::stages {

TrainingSetup finetune_training(const config::Config& config, const std::string& name);
TrainingSetup distill_training(const config::Config& config, const std::string& name);

// Each writes <run>/<kind>/<name>: model.safetensors, checkpoints/. Collective. Throws UsageError when there are no
// labels.
run::StageOutcome run_finetune(const run::Context& context, const std::string& name);
run::StageOutcome run_distill(const run::Context& context, const std::string& name);

}  // namespace cskd::stages

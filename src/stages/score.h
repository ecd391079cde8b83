// Trainings of models that score pictures.
#pragma once

#include "run/context.h"
#include "stages/training_setup.h"

namespace cskd::stages {

// Names of the stages, and of their folders.
inline constexpr const char* kTeacher = "finetune";
inline constexpr const char* kBaseline = "baseline";
inline constexpr const char* kStudent = "distill";

TrainingSetup finetune_training(const config::Config& config);
TrainingSetup baseline_training(const config::Config& config);
TrainingSetup distill_training(const config::Config& config);

// Each writes <run>/<stage>: model.safetensors, checkpoints/. Collective. Throws UsageError when there are no labels.
run::StageOutcome run_finetune(const run::Context& context);
run::StageOutcome run_baseline(const run::Context& context);
run::StageOutcome run_distill(const run::Context& context);

}  // namespace cskd::stages

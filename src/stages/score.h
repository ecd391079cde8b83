// Trainings of score models: the aesthetics teacher and the baseline on labels alone, and Stage II, the distilled
// student.
#pragma once

#include "stages/context.h"

namespace cskd::stages {

// Stage names, also folders of the run.
inline constexpr const char* kTeacher = "finetune";
inline constexpr const char* kBaseline = "baseline";
inline constexpr const char* kStudent = "distill";

// Each writes <run>/<stage>: model.safetensors, checkpoints/. Collective. Throws UsageError when there are no labels.
StageOutcome run_finetune(const Context& context);
StageOutcome run_baseline(const Context& context);
StageOutcome run_distill(const Context& context);

}  // namespace cskd::stages

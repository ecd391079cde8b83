// The settings that a stage's model is trained with: as the configuration says, or as the start-up probe found.
#pragma once

#include "models/compute_settings.h"
#include "run/context.h"
#include "training/model_cost.h"
#include "training/task.h"

namespace cskd::stages {

// Collective; the same on every rank. What was measured is kept in <stage folder>/compute.json, and holds for every
// later start of the stage, so that a resumed training goes on as it began; of another `model` it is measured
// again. Leaves the task as probe_task() does. Throws as probe_task(), and DataError when that file is damaged.
models::ComputeSettings choose_compute(const run::Context& context, const training::Task& task,
                                       const training::ModelSubject& model);

}  // namespace cskd::stages

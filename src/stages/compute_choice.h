// The settings that a stage's model is trained with: as the configuration says, or as the start-up probe found.
#pragma once

#include "models/compute_settings.h"
#include "run/context.h"
#include "training/compute_probe.h"

namespace cskd::stages {

// Collective; the same on every rank. What was measured is kept in <stage folder>/compute.json, and holds for every
// later start of the stage, so that a resumed training goes on as it began. Throws DataError when that file is damaged.
models::ComputeSettings choose_compute(const run::Context& context, const std::string& stage,
                                       training::ProbeOptions probe);

}  // namespace cskd::stages

// Stage I: an encoder learns CLIP's pooled features of the cached views.
#pragma once

#include "stages/context.h"

namespace cskd::stages {

// <run>/align: model.safetensors (the moving average of the encoder and projector), checkpoints/. Collective. Trains on
// every unlabelled and training picture; labels are not looked at.
StageOutcome run_align(const Context& context);

}  // namespace cskd::stages

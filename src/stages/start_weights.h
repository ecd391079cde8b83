// The weights that a model starts its training with.
#pragma once

#include "config/config.pb.h"
#include "models/headed_encoder.h"
#include "run/context.h"

namespace cskd::stages {

// Fills the encoder (not the head) as `start` says. Throws UsageError when that model is another encoder.
void start_weights(models::HeadedEncoder& model, config::Start start, const run::Context& context);

}  // namespace cskd::stages

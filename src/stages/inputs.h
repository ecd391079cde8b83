// The inputs of each training: its settings, and digests of what it reads.
#pragma once

#include "run/context.h"
#include "runtime/inputs.h"

namespace cskd::stages {

// These read the manifest, and those that start from CLIP its weight file. Throw UsageError when clip.weights is needed
// and missing, DataError when the manifest is damaged.
runtime::Inputs align_inputs(const run::Context& context);
// Of the training `stage` on labelled pictures: `training`, the encoder and image size, and where its weights start.
runtime::Inputs supervised_inputs(const run::Context& context, const std::string& stage,
                                  const config::Training& training, const std::string& encoder, int image_size,
                                  config::Start start);
runtime::Inputs distill_inputs(const run::Context& context);

}  // namespace cskd::stages

// What decides about the result of each stage: its settings, and digests of what it reads.
#pragma once

#include "runtime/inputs.h"
#include "stages/context.h"

namespace cskd::stages {

runtime::Inputs shard_inputs(const config::Config& config);

// These read the manifest, and those that start from CLIP its weight file. Throw UsageError when clip.weights is needed
// and missing, DataError when the manifest is damaged.
// What every stage behind the shards depends on.
runtime::Inputs corpus_inputs(const Context& context);
runtime::Inputs cache_inputs(const Context& context);
runtime::Inputs align_inputs(const Context& context);
// Of the training `stage` on labelled pictures: `training`, the encoder and image size, and where its weights start.
runtime::Inputs supervised_inputs(const Context& context, const std::string& stage, const config::Training& training,
                                  const std::string& encoder, int image_size, config::Start start);
runtime::Inputs distill_inputs(const Context& context);

}  // namespace cskd::stages

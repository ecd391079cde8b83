// The frozen CLIP encoder that teaches.
#pragma once

#include <memory>

#include "models/encoder.h"
#include "run/context.h"
#include "runtime/content_hash.h"

namespace cskd::features {

// In evaluation mode on the communicator's device. REQUIRES: clip.weights is given; clip_inputs() says so before
std::shared_ptr<models::Encoder> load_clip(const run::Context& context);

// Digest of clip.encoder and of the bytes of clip.weights, without building the encoder. Throws UsageError when
// clip.weights is missing.
runtime::ContentHash clip_inputs(const config::Config& config);

}  // namespace cskd::features

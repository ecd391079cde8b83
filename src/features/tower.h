// A frozen encoder that teaches.
#pragma once

#include <memory>

#include "models/encoder.h"
#include "run/context.h"
#include "runtime/content_hash.h"

namespace cskd::features {

// For inference on the communicator's device. Rank 0 logs what the weight file was recognised as. Throws as
// models::load_encoder_weights().
std::shared_ptr<models::Encoder> load_tower(const run::Context& context, const config::Tower& tower);

// Digest of the architecture and of the bytes of the weights, without building the encoder.
runtime::ContentHash weights_digest(const config::Tower& tower);

}  // namespace cskd::features

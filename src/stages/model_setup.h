// The models of a configuration, and where their weights come from.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "models/headed_encoder.h"
#include "runtime/content_hash.h"
#include "stages/context.h"
#include "training/stage.h"

namespace cskd::stages {

using Headed = std::shared_ptr<models::HeadedEncoder>;

// The frozen CLIP encoder, in evaluation mode on the communicator's device. REQUIRES: clip.weights is given;
// clip_inputs() says so before
std::shared_ptr<models::Encoder> load_clip(const Context& context);

// Digest of clip.encoder and of the bytes of clip.weights, without building the encoder. Throws UsageError when
// clip.weights is missing.
runtime::ContentHash clip_inputs(const config::Config& config);

// A model with random weights that follow from the seed and `purpose`, on the communicator's device, float32 and
// channels last.
Headed make_model(const Context& context, const std::string& encoder, int image_size, const char* head,
                  std::int64_t outputs, const std::string& purpose);

// Fills the encoder (not the head) as `start` says. Throws UsageError when that model is another encoder.
void start_weights(models::HeadedEncoder& model, config::Start start, const Context& context);

// The trained model of a stage, from its model.safetensors: encoder, size and head as its metadata says. In evaluation
// mode.
Headed load_stage_model(const Context& context, const std::string& stage, const char* head);

// What load_stage_model() needs to know.
std::vector<std::pair<std::string, std::string>> model_metadata(const models::HeadedEncoder& model,
                                                                const std::string& stage, std::int64_t outputs);

}  // namespace cskd::stages

// The models of a run: an encoder with a head, new or from the stage that trained it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "models/headed_encoder.h"
#include "models/model_file.h"
#include "run/context.h"

namespace cskd::inference {

using Model = std::shared_ptr<models::HeadedEncoder>;

// A model with random weights that follow from the seed and `purpose`, on the communicator's device, float32 and
// channels last. `token_outputs`: of a token projector; 0: without.
Model make_model(const run::Context& context, const std::string& encoder, int image_size, const char* head,
                 std::int64_t outputs, const std::string& purpose, std::int64_t token_outputs = 0);

// model.safetensors of a stage. Throws UsageError when the stage has not trained it yet, DataError when it is damaged.
models::StoredModel read_stage_model(const run::Context& context, const std::string& stage);

// The trained model of a stage for inference: encoder, size and head as its metadata says. Throws as
// read_stage_model().
Model load_stage_model(const run::Context& context, const std::string& stage, const char* head);

}  // namespace cskd::inference

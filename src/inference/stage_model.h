// The models of a run: an encoder with a head, new or from the stage that trained it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "models/headed_encoder.h"
#include "run/context.h"

namespace cskd::inference {

using Headed = std::shared_ptr<models::HeadedEncoder>;

// A model with random weights that follow from the seed and `purpose`, on the communicator's device, float32 and
// channels last.
Headed make_model(const run::Context& context, const std::string& encoder, int image_size, const char* head,
                  std::int64_t outputs, const std::string& purpose);

// The trained model of a stage, from its model.safetensors: encoder, size and head as its metadata says. In evaluation
// mode.
Headed load_stage_model(const run::Context& context, const std::string& stage, const char* head);

// What load_stage_model() needs to know.
std::vector<std::pair<std::string, std::string>> model_metadata(const models::HeadedEncoder& model,
                                                                const std::string& stage, std::int64_t outputs);

}  // namespace cskd::inference

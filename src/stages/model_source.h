// The models that trainings start from: what `from` names in a configuration.
#pragma once

#include <cstdint>
#include <string>

#include "config/config.pb.h"
#include "inference/stage_model.h"
#include "models/headed_encoder.h"
#include "run/context.h"
#include "runtime/inputs.h"

namespace cskd::stages {

struct ModelSource {
  std::string key;  // that names the architecture: "encoders.mobile.architecture"
  std::string architecture;
  int image_size = 0;      // 0: the architecture's own
  bool is_trained = true;  // false: an encoder with random weights
  bool whitens = false;    // its head sees whitened features
};

// Of "encoders.mobile", "towers.clip", or of the model that "align.student" and the like train, whatever that started
// from. REQUIRES: references were checked
ModelSource model_source(const config::Config& config, const std::string& from);

// Purpose of the random numbers of first weights: whether a model starts from what was trained or not, whatever its
// name.
inline const char* purpose_of(const ModelSource& source) { return source.is_trained ? "finetune" : "baseline"; }

// A new model of the source's structure with a score head of `bins` outputs, as inference::make_model().
inference::Model make_scorer(const run::Context& context, const ModelSource& source, std::int64_t bins,
                             const std::string& purpose);

// Weights and settings that decide about the model, by name. Where `from` names a stage: those of that stage.
runtime::Inputs source_inputs(const config::Config& config, const run::RunFolder& folder, const std::string& from);

// Fills the encoder with the weights of `from`, and the head as well where `from` is a model that scores pictures.
// Throws UsageError when its weights are missing, DataError when they are damaged or belong to another encoder.
void start_weights(models::HeadedEncoder& model, const std::string& from, const run::Context& context);

}  // namespace cskd::stages

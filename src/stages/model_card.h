// The page that goes with a model: what it computes, what it was made from, whose licences it carries.
#pragma once

#include <cstdint>
#include <string>

#include "config/config.pb.h"
#include "models/encoder.h"
#include "shards/manifest.h"
#include "stages/training_setup.h"

namespace cskd::stages {

struct CardSubject {
  std::string stage;
  const models::EncoderShape& shape;
  bool scores = true;           // pictures; or it gives features
  std::int64_t outputs = 0;     // of its head
  std::int64_t parameters = 0;  // and statistics
  std::string training;         // sentences
  std::string figures;          // Markdown: how good it is; "": not judged
  std::string usage;            // Markdown: how to use model.onnx beside it; "": there is none
};

// How a training goes, in a sentence.
std::string training_sentence(const config::Config& config, const TrainingSetup& setup);

// Markdown with the front matter that model hubs read. Everything comes from the configuration, the manifest and the
// registry of encoders, so that equal trainings have equal cards.
std::string model_card(const config::Config& config, const CardSubject& subject, const shards::Manifest& manifest);

}  // namespace cskd::stages

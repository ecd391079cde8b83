// The page that goes with a model: what it computes, what it was made from, whose licences it carries.
#pragma once

#include <string>

#include "run/context.h"
#include "shards/manifest.h"
#include "stages/headed_pair.h"
#include "stages/training_setup.h"

namespace cskd::stages {

// Markdown with the front matter that model hubs read. Everything comes from the configuration, the manifest and the
// registry of encoders, so that equal trainings have equal cards.
std::string model_card(const run::Context& context, const TrainingSetup& setup, const shards::Manifest& manifest,
                       HeadedPair& model);

}  // namespace cskd::stages

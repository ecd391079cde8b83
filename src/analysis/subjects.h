// The frozen models that an analysis looks at: towers, encoders as they start, and what stages trained.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "models/encoder.h"
#include "run/context.h"
#include "runtime/inputs.h"

namespace cskd::analysis {

// "towers.clip", "encoders.mobile", "align.student" and so on: those that are asked for, in the order of the
// configuration; without any, all whose weights are there (the others are logged). Collective, by what rank 0 sees.
// Throws UsageError: an unknown name, with the nearest; a result that is missing, with the command that makes it; none
// at all.
std::vector<std::string> subjects(const run::Context& context, const std::vector<std::string>& asked);

// Towers of the configuration whose weights are there, to compare with. As above.
std::vector<std::string> towers_to_compare(const run::Context& context);

// What decides about a subject, by name.
runtime::Inputs subject_inputs(const run::Context& context, const std::string& subject);

// The shape that the configuration gives it, without its weights.
models::EncoderShape subject_shape(const run::Context& context, const std::string& subject);

// false: an encoder with random weights.
bool subject_is_trained(const run::Context& context, const std::string& subject);

// For inference on the communicator's device, float32. Throws as stages::start_weights() and
// inference::load_stage_model().
std::shared_ptr<models::Encoder> load_subject(const run::Context& context, const std::string& subject);

}  // namespace cskd::analysis

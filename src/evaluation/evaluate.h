// The stage that judges trained models on the held-out test pictures.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "run/context.h"

namespace cskd::evaluation {

std::filesystem::path results_folder(const run::RunFolder& folder);

// What decides about the result, where these models are there: their contents, among others.
runtime::Inputs evaluate_inputs(const config::Config& config, const run::RunFolder& folder,
                                const std::vector<std::string>& stages);

// Judges the models of these stages, in this order: results.json and predictions.csv in results_folder(). Those that
// do not exist yet are logged and left out, unless all are needed. Collective. Throws UsageError when there is none, or
// no test picture.
run::StageOutcome run_evaluate(const run::Context& context, const std::vector<std::string>& stages, bool all_needed);

}  // namespace cskd::evaluation

// The stage that judges trained models on the held-out test pictures.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "run/context.h"

namespace cskd::evaluation {

struct JudgedModel {
  std::string stage;  // that trains it
  std::string name;   // as people call it
};

std::filesystem::path results_folder(const run::RunFolder& folder);

// Judges those of the models that are there, in this order: results.json and predictions.csv in results_folder().
// Collective. Throws UsageError when none is there, or no test picture.
run::StageOutcome run_evaluate(const run::Context& context, const std::vector<JudgedModel>& models);

}  // namespace cskd::evaluation

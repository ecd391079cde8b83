// The analysis of a run's frozen models: attention and features, before and after training.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "run/context.h"

namespace cskd::analysis {

std::filesystem::path analysis_folder(const run::RunFolder& folder);

// Analyses the models that are asked for, "align.student", or all that are there: analysis.json, analysis.csv and
// analysis.html in analysis_folder(), unless they are there already, made from the same. Collective. Throws UsageError
// as subjects(), when the corpus is not packed, or has no picture to look at; DataError that names the picture where
// features are not finite; Stopped between two models.
run::StageOutcome run_analyze(const run::Context& context, const std::vector<std::string>& asked);

// analysis.json as it stands, and as a table for people. Throw DataError when it is damaged.
std::string analysis_json(const run::RunFolder& folder);
std::string analysis_table(const run::RunFolder& folder);

}  // namespace cskd::analysis

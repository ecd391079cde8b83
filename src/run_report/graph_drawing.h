// The graph of a run's stages as inline SVG.
#pragma once

#include <string>

#include "run_report/run_record.h"

namespace cskd::run_report {

// Stages in columns from left to right, each right of all that it needs, with their time; what is not complete is drawn
// hollow.
std::string graph_drawing(const RunRecord& run);

}  // namespace cskd::run_report

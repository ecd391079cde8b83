// Sections of a report on trainings, as HTML: how they went.
#pragma once

#include <string>
#include <vector>

#include "run_report/run_record.h"

namespace cskd::run_report {

// Charts of every training of the graphs: losses, validation, throughput, gradient norm, learning rate, and what steps
// waited for. Of a single run a line for each term, of several a line for each run.
std::string curve_sections(const std::vector<RunRecord>& runs);

}  // namespace cskd::run_report

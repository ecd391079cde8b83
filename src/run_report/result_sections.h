// Sections of a report on the models, as HTML: how good they are.
#pragma once

#include <string>
#include <vector>

#include "run_report/run_record.h"
#include "run_report/shown_pictures.h"

namespace cskd::run_report {

// Of every run that was evaluated: figures with intervals, paired differences, fidelity, by source.
std::string evaluation_section(const std::vector<RunRecord>& runs);

// The table of a sweep.
std::string sweep_section(const SweepRecord& sweep);

// Predicted over rated mean scores: of a single run all models, of several their first.
std::string agreement_section(const std::vector<RunRecord>& runs);

// The pictures that the first model of a run likes best, least, and is most wrong about.
std::string picture_section(const RunRecord& run, const ShownPictures& pictures);

}  // namespace cskd::run_report

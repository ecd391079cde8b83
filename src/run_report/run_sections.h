// Sections of a report on a run, as HTML: what ran, on what, and what was wrong.
#pragma once

#include <string>
#include <vector>

#include "run_report/run_record.h"

namespace cskd::run_report {

// Figures that a reader wants first, of a run that was evaluated; "" otherwise.
std::string glance(const RunRecord& run);

// Everything that a reader should know before believing a figure; says so where there is nothing.
std::string warning_section(const std::vector<RunRecord>& runs);

// The graphs that ran, each once: runs that differ in values alone share one.
std::string graph_section(const std::vector<RunRecord>& runs);

// What packing made of the sources.
std::string corpus_section(const RunRecord& run);

// Features of towers and encoders before and after; "" where the run was not analysed.
std::string analysis_section(const RunRecord& run);

// The whole configuration of each run; of several what differs first.
std::string configuration_section(const std::vector<RunRecord>& runs);

}  // namespace cskd::run_report

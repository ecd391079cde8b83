// A report on runs and sweeps as one HTML file that needs nothing else: no network, no script.
#pragma once

#include <cstddef>
#include <string>

#include "run_report/run_record.h"

namespace cskd::run_report {

struct ReportOptions {
  std::size_t pictures = 8;      // best, worst and most wrong of each
  bool measures_latency = true;  // of the evaluated models, on this machine
  std::string version;           // of the program
};

// Adds to the records' troubles what could not be shown. REQUIRES: there is a run
std::string to_page(Records& records, const ReportOptions& options);

}  // namespace cskd::run_report

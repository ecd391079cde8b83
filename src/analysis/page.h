// An analysis as one HTML file that needs nothing else: no network, no script.
#pragma once

#include <string>

#include "analysis/findings.h"

namespace cskd::analysis {

std::string to_page(const Findings& findings);

}  // namespace cskd::analysis

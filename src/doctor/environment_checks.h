// Environment variables that change how cskd runs.
#pragma once

#include <vector>

#include "doctor/checks.h"

namespace cskd::doctor {

// One check for each variable that is set and matters, then one for whether all ranks have the same environment.
std::vector<Check> check_environment(const WorldFacts& world);

}  // namespace cskd::doctor

// Estimates with their intervals, as tables and JSON show them.
#pragma once

#include <string>

#include <nlohmann/json_fwd.hpp>

#include "metrics/metrics.h"

namespace cskd::evaluation {

// A number, null where there is none (all predictions equal): JSON has no NaN.
nlohmann::ordered_json json_of(double value);
// {"value": ..., "low": ..., "high": ...}
nlohmann::ordered_json json_of(const metrics::Estimate& estimate);

// What json_of() made. Throws nlohmann::json::exception for anything else.
double value_of(const nlohmann::ordered_json& number);
metrics::Estimate estimate_of(const nlohmann::ordered_json& parts);

// "0.483..0.603", "-" where there is none.
std::string interval_text(const metrics::Estimate& estimate);

}  // namespace cskd::evaluation

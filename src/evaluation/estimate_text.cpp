#include "evaluation/estimate_text.h"

#include <cmath>
#include <limits>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace cskd::evaluation {

nlohmann::ordered_json json_of(double value) {
  return std::isfinite(value) ? nlohmann::ordered_json(value) : nlohmann::ordered_json(nullptr);
}

nlohmann::ordered_json json_of(const metrics::Estimate& estimate) {
  return {{"value", json_of(estimate.value)}, {"low", json_of(estimate.low)}, {"high", json_of(estimate.high)}};
}

double value_of(const nlohmann::ordered_json& number) {
  return number.is_null() ? std::numeric_limits<double>::quiet_NaN() : number.get<double>();
}

metrics::Estimate estimate_of(const nlohmann::ordered_json& parts) {
  return {value_of(parts.at("value")), value_of(parts.at("low")), value_of(parts.at("high"))};
}

std::string interval_text(const metrics::Estimate& estimate) {
  return std::isnan(estimate.low) ? "-" : fmt::format("{:.3f}..{:.3f}", estimate.low, estimate.high);
}

}  // namespace cskd::evaluation

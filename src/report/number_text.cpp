#include "report/number_text.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

namespace cskd::report {

std::string with_commas(std::int64_t number) {
  std::string digits = std::to_string(number);
  const int first = number < 0 ? 1 : 0;
  for (int i = static_cast<int>(digits.size()) - 3; i > first; i -= 3) digits.insert(static_cast<size_t>(i), 1, ',');
  return digits;
}

std::string duration_text(double seconds) {
  constexpr double kMost = 1e12;
  const auto whole = static_cast<std::int64_t>(seconds > 0 ? std::ceil(std::min(seconds, kMost)) : 0);
  if (whole < 60) return fmt::format("{} s", whole);
  if (whole < 3600) return fmt::format("{} min {:02} s", whole / 60, whole % 60);
  if (whole < std::int64_t{48} * 3600) return fmt::format("{} h {:02} min", whole / 3600, whole % 3600 / 60);
  return fmt::format("{} d {:02} h", whole / 86400, whole % 86400 / 3600);
}

}  // namespace cskd::report

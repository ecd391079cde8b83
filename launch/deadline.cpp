#include "launch/deadline.h"

#include <array>
#include <charconv>
#include <ctime>

#include <fmt/chrono.h>
#include <fmt/format.h>

#include "runtime/error.h"

namespace cskd::launch {
namespace {

using Time = std::chrono::system_clock::time_point;

constexpr std::int64_t kLongest = std::int64_t{366} * 24 * 3600;  // seconds; beyond a year it is a slip

std::optional<std::int64_t> whole_number(const std::string& text) {
  std::int64_t number = 0;
  const char* end = text.data() + text.size();
  const auto [after, error] = std::from_chars(text.data(), end, number);
  return error == std::errc() && after == end && number >= 0 ? std::optional(number) : std::nullopt;
}

// "1h30m": hours, minutes and seconds, in this order.
std::optional<std::chrono::seconds> duration(const std::string& text) {
  constexpr std::array<std::pair<char, std::int64_t>, 4> kUnits{{{'d', 86400}, {'h', 3600}, {'m', 60}, {'s', 1}}};
  std::int64_t seconds = 0;
  size_t start = 0;
  for (const auto& [unit, size] : kUnits) {
    const size_t end = text.find(unit, start);
    if (end == std::string::npos) continue;
    const auto number = whole_number(text.substr(start, end - start));
    if (!number || *number > kLongest) return std::nullopt;
    seconds += *number * size;
    start = end + 1;
  }
  if (start == 0 || start != text.size() || seconds > kLongest) return std::nullopt;
  return std::chrono::seconds(seconds);
}

std::optional<Time> date(const std::string& text) {
  std::tm parts{};
  const char* rest = ::strptime(text.c_str(), "%Y-%m-%dT%H:%M", &parts);
  if (rest == nullptr) return std::nullopt;
  if (*rest == ':') rest = ::strptime(rest, ":%S", &parts);
  if (rest == nullptr) return std::nullopt;
  parts.tm_isdst = -1;
  const bool is_utc = *rest == 'Z';
  if (*(is_utc ? rest + 1 : rest) != '\0') return std::nullopt;
  return std::chrono::system_clock::from_time_t(is_utc ? ::timegm(&parts) : std::mktime(&parts));
}

Time slurm_time(const std::optional<std::string>& slurm_end) {
  const auto seconds = slurm_end ? whole_number(*slurm_end) : std::nullopt;
  if (!seconds) {
    throw runtime::UsageError(
        "--stop-before slurm needs SLURM_JOB_END_TIME, which is not set (Slurm before 23.02 does not set it, and "
        "nothing does outside of a job): give a duration instead, such as 3h50m");
  }
  return std::chrono::system_clock::from_time_t(*seconds);
}

}  // namespace

Time parse_deadline(const std::string& text, Time now, const std::optional<std::string>& slurm_end) {
  std::optional<Time> found;
  if (text == "slurm") {
    found = slurm_time(slurm_end);
  } else if (const auto length = duration(text)) {
    found = now + *length;
  } else {
    found = date(text);
  }
  if (!found) {
    throw runtime::UsageError(fmt::format(
        "--stop-before {} is not a time: expected a duration (1h30m, 90m, 5400s), a date (2026-12-01T18:00) or slurm",
        text));
  }
  if (*found <= now) {
    throw runtime::UsageError(fmt::format("--stop-before {} has passed: it is {:%Y-%m-%dT%H:%M:%S}Z now", text,
                                          fmt::gmtime(std::chrono::system_clock::to_time_t(now))));
  }
  return *found;
}

}  // namespace cskd::launch

#include "distributed/fault_injection.h"

#include <charconv>
#include <csignal>
#include <cstdlib>
#include <map>
#include <thread>
#include <vector>

#include <fmt/format.h>

#include "runtime/error.h"

namespace cskd::distributed {
namespace {

constexpr const char* kVariable = "CSKD_FAULT";

const std::map<std::string_view, FaultAction> kActions{{"delay", FaultAction::kDelay},
                                                       {"drop", FaultAction::kDrop},
                                                       {"corrupt", FaultAction::kCorrupt},
                                                       {"kill", FaultAction::kKill},
                                                       {"throw", FaultAction::kThrow}};

std::string_view environment() {
  const char* const text = std::getenv(kVariable);
  return text == nullptr ? std::string_view() : text;
}

std::vector<std::string_view> fields_of(std::string_view text) {
  std::vector<std::string_view> fields;
  for (std::size_t start = 0; start <= text.size();) {
    const std::size_t end = std::min(text.find(':', start), text.size());
    fields.push_back(text.substr(start, end - start));
    start = end + 1;
  }
  return fields;
}

template <typename Number>
bool parse(std::string_view text, Number& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size();
}

}  // namespace

FaultInjection::FaultInjection(int rank) : FaultInjection(environment(), rank) {}

FaultInjection::FaultInjection(std::string_view text, int rank) {
  if (text.empty()) return;
  const std::vector<std::string_view> fields = fields_of(text);
  const std::size_t at = fields.size() > 1 ? fields[1].find('@') : std::string_view::npos;
  int struck = 0;
  double seconds = 0;
  const auto action = fields.size() > 2 ? kActions.find(fields[2]) : kActions.end();
  if (fields.size() > 4 || at == std::string_view::npos || !parse(fields[1].substr(0, at), number_) || number_ == 0 ||
      !parse(fields[1].substr(at + 1), struck) || action == kActions.end() ||
      (action->second == FaultAction::kDelay) != (fields.size() == 4) ||
      (fields.size() == 4 && (!parse(fields[3], seconds) || !(seconds >= 0)))) {
    throw runtime::UsageError(fmt::format(
        "{} is '{}', expected <kind>:<number>@<rank>:<action>, with one of delay:<seconds>, drop, corrupt, kill, throw",
        kVariable, text));
  }
  if (struck != rank) return;
  kind_ = fields[0];
  action_ = action->second;
  delay_ = std::chrono::duration<double>(seconds);
}

std::optional<FaultAction> FaultInjection::strike(std::string_view kind) {
  if (kind_.empty() || (kind_ != "any" && kind_ != kind) || ++count_ != number_) return std::nullopt;
  switch (action_) {
    case FaultAction::kDelay:
      std::this_thread::sleep_for(delay_);
      return std::nullopt;
    case FaultAction::kKill:
      std::raise(SIGKILL);
      return std::nullopt;
    case FaultAction::kThrow:
      throw runtime::Error(fmt::format("{}: {} {} was told to fail", kVariable, kind, count_));
    default:
      return action_;
  }
}

}  // namespace cskd::distributed

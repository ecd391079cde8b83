#include "packing/passed_over.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "packing/list_line.h"

namespace cskd::packing {
namespace {

constexpr std::uint64_t kMostListed = 10'000;  // of a kind and source
constexpr std::uint64_t kFewestListed = 10;    // of each archive

}  // namespace

std::string text_of_kinds(const std::map<std::string, std::uint64_t>& counts) {
  std::string text;
  for (const auto& [kind, count] : counts) text += fmt::format("{}{} {}", text.empty() ? "" : ", ", count, kind);
  return text;
}

PassedOver::PassedOver(const config::Source& source, std::string part, std::uint64_t parts)
    : source_(source), part_(std::move(part)), room_(std::max(kFewestListed, kMostListed / parts)) {}

void PassedOver::add(const shards::Entry& entry) {
  if (++counts_[entry.passed_over] <= room_)
    lines_ += list_line(source_.name(), entry.key, "passed_over", entry.passed_over);
}

std::string PassedOver::summary(const std::string& place) const {
  std::string summary;
  for (const auto& [kind, count] : counts_) summary += fmt::format("{} {} {}\n", place, count, kind);
  return summary;
}

std::string PassedOver::lines() const {
  std::string lines = lines_;
  for (const auto& [kind, count] : counts_) {
    if (count > room_)
      lines += list_line(source_.name(), part_, "passed_over", fmt::format("{} more: {}", count - room_, kind));
  }
  return lines;
}

}  // namespace cskd::packing

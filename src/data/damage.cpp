#include "data/damage.h"

#include <algorithm>
#include <exception>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <spdlog/spdlog.h>

#include "runtime/error.h"

namespace cskd::data {
namespace {

constexpr std::size_t kMostTold = 1000;

std::string current_cause() {
  try {
    throw;
  } catch (const std::exception& error) {
    return fmt::format("{}", fmt::join(runtime::messages(error), ": "));
  }
}

}  // namespace

void DamageLog::add(const std::string& sample, const std::string& remedy) {
  const std::uint64_t damaged = counts_ ? ++damaged_ : 0;
  const std::uint64_t uses = uses_;
  if (counts_ && static_cast<double>(damaged) > most_share_ * static_cast<double>(std::max(uses, kFewUses))) {
    std::throw_with_nested(runtime::DataError(
        fmt::format("{} of the {} samples used so far are damaged, more than data.max_damaged = {} allows", damaged,
                    uses, most_share_)));
  }
  const std::lock_guard lock(mutex_);
  if (told_.size() >= kMostTold || !told_.insert(sample).second) return;
  spdlog::warn("{}: {}; {}", sample, current_cause(), remedy);
  if (told_.size() == kMostTold) spdlog::warn("further damaged samples are counted, but not logged");
}

}  // namespace cskd::data

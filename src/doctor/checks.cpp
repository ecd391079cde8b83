#include "doctor/checks.h"

#include <algorithm>

#include <fmt/format.h>

#include "runtime/check.h"

namespace cskd::doctor {

Checks judge(const WorldFacts& world) {
  CSKD_CHECK(!world.ranks.empty(), "facts of no rank at all");
  Checks checks;
  for (const auto part : {check_program, check_hosts, check_gpus, check_network, check_folder, check_sources,
                          check_stages, check_environment}) {
    for (Check& check : part(world)) checks.push_back(std::move(check));
  }
  return checks;
}

Verdict overall(const Checks& checks) {
  Verdict worst = Verdict::kFine;
  for (const Check& check : checks) worst = std::max(worst, check.verdict);
  return worst;
}

std::string to_string(Verdict verdict) {
  switch (verdict) {
    case Verdict::kFine:
      return "fine";
    case Verdict::kSlow:
      return "slow";
    case Verdict::kWrong:
      return "wrong";
  }
  CSKD_CHECK(false, "verdict {}", static_cast<int>(verdict));
}

std::string ranges(const std::vector<int>& numbers) {
  std::string text;
  for (size_t i = 0; i < numbers.size();) {
    size_t last = i;
    while (last + 1 < numbers.size() && numbers[last + 1] == numbers[last] + 1) ++last;
    text += fmt::format("{}{}", text.empty() ? "" : ", ", numbers[i]);
    if (last > i) text += fmt::format("-{}", numbers[last]);
    i = last + 1;
  }
  return text;
}

}  // namespace cskd::doctor

#include "stages/rounding_choice.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include <spdlog/spdlog.h>

namespace cskd::stages {

double deviation_of(const std::vector<double>& exact, const std::vector<double>& rounded) {
  double sum = 0;
  double squares = 0;
  double differences = 0;
  double count = 0;
  for (std::size_t i = 0; i < rounded.size(); ++i) {
    if (!std::isfinite(exact[i])) continue;
    sum += exact[i];
    squares += exact[i] * exact[i];
    differences += (rounded[i] - exact[i]) * (rounded[i] - exact[i]);
    ++count;
  }
  if (count < 2) return std::numeric_limits<double>::quiet_NaN();
  const double variance = std::max(0.0, squares / count - (sum / count) * (sum / count));
  return differences == 0 ? 0 : std::sqrt(differences / count / variance);
}

RoundingChoice choose_rounding(const exporting::Recording& recording, const exporting::Ranges& ranges,
                               double most_deviation, const RoundedScores& scores) {
  const std::vector<double> exact = scores(nullptr, false);
  const auto with = [&](std::set<std::size_t> left_out) {
    RoundingChoice choice{.rounding = exporting::rounding_of(recording, ranges, std::move(left_out))};
    choice.deviation = deviation_of(exact, scores(&choice.rounding, false));
    return choice;
  };
  RoundingChoice best = with({});
  if (!(best.deviation > most_deviation)) return best;
  const std::vector<std::size_t> products = exporting::products(recording);
  std::vector<std::pair<double, std::size_t>> costs;
  for (const std::size_t product : products) {
    std::set<std::size_t> others(products.begin(), products.end());
    others.erase(product);
    const exporting::Rounding alone = exporting::rounding_of(recording, ranges, std::move(others));
    costs.emplace_back(-deviation_of(exact, scores(&alone, true)), product);
  }
  std::ranges::sort(costs);
  const auto left_out = [&](std::size_t count) {
    std::set<std::size_t> chosen;
    for (std::size_t i = 0; i < count; ++i) chosen.insert(costs[i].second);
    return chosen;
  };
  // Doubled until it is enough, then halved: costs do not simply add up, so that the least count is not certain.
  const std::size_t most = products.size() / 2;
  std::size_t too_few = 0;
  std::size_t enough = 1;
  for (;; enough = std::min(most, 2 * enough)) {
    best = with(left_out(enough));
    if (best.deviation <= most_deviation || enough >= most) break;
    too_few = enough;
  }
  while (best.deviation <= most_deviation && enough - too_few > 1) {
    const std::size_t middle = (enough + too_few) / 2;
    RoundingChoice tried = with(left_out(middle));
    if (tried.deviation <= most_deviation) {
      enough = middle;
      best = std::move(tried);
    } else {
      too_few = middle;
    }
  }
  return best;
}

}  // namespace cskd::stages

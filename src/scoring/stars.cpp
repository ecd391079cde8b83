#include "scoring/stars.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include <fmt/format.h>

#include "runtime/error.h"

namespace cskd::scoring {
namespace {

[[noreturn]] void refuse(const std::string& text, std::size_t count) {
  throw runtime::UsageError(
      fmt::format("'{}' is not {}, all of them scores (4.5) or all of them shares of the photos (10%)", text,
                  count == 1 ? "a number" : fmt::format("{} rising numbers with commas between", count)));
}

// The score at which a cut lies among rising scores.
double place_of(const Cut& cut, const std::vector<double>& rising) {
  if (!cut.is_share) return cut.value;
  const double place = cut.value * static_cast<double>(rising.size() - 1);
  const auto below = static_cast<std::size_t>(place);
  const std::size_t above = std::min(below + 1, rising.size() - 1);
  return rising[below] + (place - static_cast<double>(below)) * (rising[above] - rising[below]);
}

}  // namespace

std::vector<Cut> parse_cuts(const std::string& text, std::size_t count) {
  std::vector<Cut> cuts;
  const char* last = text.data() + text.size();
  for (const char* place = text.data(); place < last;) {
    Cut cut;
    const auto [end, status] = std::from_chars(place, last, cut.value);
    if (status != std::errc() || !std::isfinite(cut.value)) refuse(text, count);
    place = end;
    if (place < last && *place == '%') {
      cut = {.value = cut.value / 100, .is_share = true};
      if (cut.value < 0 || cut.value > 1) refuse(text, count);
      ++place;
    }
    if (!cuts.empty() && (cut.is_share != cuts.back().is_share || cut.value <= cuts.back().value)) refuse(text, count);
    cuts.push_back(cut);
    if (place == last) break;
    if (*place != ',' || place + 1 == last) refuse(text, count);
    ++place;
  }
  if (cuts.size() != count) refuse(text, count);
  return cuts;
}

std::vector<int> stars_of(std::span<const double> scores, const StarRule& rule) {
  if (scores.empty()) return {};
  std::vector<double> rising(scores.begin(), scores.end());
  std::ranges::sort(rising);
  std::vector<double> places;
  for (const Cut& cut : rule.cuts) places.push_back(place_of(cut, rising));
  std::vector<int> stars;
  for (const double score : scores) {
    const auto passed = std::ranges::count_if(places, [&](double place) { return score >= place; });
    const bool is_rejected = rule.reject && score < place_of(*rule.reject, rising);
    stars.push_back(is_rejected ? kRejected : 1 + static_cast<int>(passed));
  }
  return stars;
}

}  // namespace cskd::scoring

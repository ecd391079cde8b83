// From scores to the stars that photo programs show.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

namespace cskd::scoring {

// xmp:Rating: 1 to 5 stars; -1 rejected, 0 not rated.
inline constexpr int kRejected = -1;

// Where a star more begins: a score, or the score that a share of the photos lies below.
struct Cut {
  double value = 0;
  bool is_share = false;  // value from 0 to 1
};

struct StarRule {
  std::vector<Cut> cuts;      // four, rising: where 2, 3, 4 and 5 stars begin
  std::optional<Cut> reject;  // photos below are rejected
};

// "10%,35%,65%,90%" or "4.5,5,5.5,6". Throws UsageError for anything else: other numbers of cuts, cuts that do not
// rise, both kinds.
std::vector<Cut> parse_cuts(const std::string& text, std::size_t count);

// Ratings of the photos with these scores. Shares are of these photos, equal scores get equal stars.
std::vector<int> stars_of(std::span<const double> scores, const StarRule& rule);

}  // namespace cskd::scoring

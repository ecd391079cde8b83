#include "runtime/spelling.h"

#include <algorithm>
#include <limits>

namespace cskd::runtime {

size_t edit_distance(std::string_view a, std::string_view b) {
  // Three rows of the table: before last, last and current.
  std::vector<size_t> older(b.size() + 1);
  std::vector<size_t> last(b.size() + 1);
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) last[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t substituted = last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, substituted});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) row[j] = std::min(row[j], older[j - 2] + 1);
    }
    older.swap(last);
    last.swap(row);
  }
  return last[b.size()];
}

std::string nearest(std::string_view word, const std::vector<std::string>& candidates) {
  size_t least = std::numeric_limits<size_t>::max();
  std::string best;
  for (const std::string& candidate : candidates) {
    const size_t limit = std::max<size_t>(1, std::max(word.size(), candidate.size()) / 3);
    const size_t distance = edit_distance(word, candidate);
    if (distance > limit || distance >= least) continue;
    least = distance;
    best = candidate;
  }
  return best;
}

}  // namespace cskd::runtime

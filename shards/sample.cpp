#include "shards/sample.h"

#include <cmath>

#include <fmt/format.h>

#include "runtime/check.h"
#include "runtime/error.h"

namespace cskd::shards {

std::string_view to_string(Split split) {
  switch (split) {
    case Split::kUnlabelled:
      return "unlabelled";
    case Split::kTrain:
      return "train";
    case Split::kValidation:
      return "validation";
    case Split::kTest:
      return "test";
  }
  return "unknown";
}

Label label_from_counts(const std::vector<double>& counts, const std::vector<float>& bin_centres) {
  CSKD_CHECK(counts.size() == bin_centres.size(), "{} counts for {} bins", counts.size(), bin_centres.size());
  double total = 0;
  for (const double count : counts) {
    if (!std::isfinite(count) || count < 0) throw runtime::DataError(fmt::format("a bin has the count {}", count));
    total += count;
  }
  if (total <= 0 || !std::isfinite(total)) throw runtime::DataError("all bins are empty: nobody rated it");
  double mean = 0;
  double square = 0;
  Label label;
  for (size_t bin = 0; bin < counts.size(); ++bin) {
    const double share = counts[bin] / total;
    label.histogram.push_back(static_cast<float>(share));
    mean += share * bin_centres[bin];
    square += share * bin_centres[bin] * bin_centres[bin];
  }
  label.mean = static_cast<float>(mean);
  label.stddev = static_cast<float>(std::sqrt(std::max(0.0, square - mean * mean)));
  return label;
}

}  // namespace cskd::shards

#include "shards/importers/rating_scale.h"

#include <cmath>

#include <fmt/format.h>

#include "runtime/error.h"
#include "shards/importers/kinds.h"

namespace cskd::shards {
namespace {

// [ours] Raters of AVA differ by about 1.4 of its 9 points; the same share of the range stands for collections that do
// not say.
constexpr double kDefaultStddevShare = 0.16;

// Of a source with counts, whose bins are `given`.
size_t expected_bins(const config::Source& source, size_t given) {
  const auto columns = static_cast<size_t>(source.columns().counts_size());
  if (source.kind() == config::Source::csv) return columns;
  if (source.kind() == config::Source::webdataset) return columns == 1 ? given : columns;  // one field may hold all
  return source_kind(source.kind()).bins.size();
}

}  // namespace

void refuse_scale(const config::Source& source, const std::string& reason) {
  throw runtime::UsageError(fmt::format("source '{}': {}", source.name(), reason));
}

Ratings ratings_of(const config::Source& source) {
  const SourceKind& kind = source_kind(source.kind());
  if (!kind.columns_decide) return kind.ratings;
  if (source.columns().counts_size() > 0) return Ratings::kCounts;
  return source.columns().mean().empty() ? Ratings::kNone : Ratings::kMean;
}

std::vector<float> rising_bins(const config::Source& source, const char* key,
                               const google::protobuf::RepeatedField<double>& centres) {
  std::vector<float> bins;
  for (const double bin : centres) {
    const auto centre = static_cast<float>(bin);
    if (!std::isfinite(centre)) refuse_scale(source, fmt::format("{} has {}, expected finite numbers", key, bin));
    if (!bins.empty() && centre <= bins.back())
      refuse_scale(source, fmt::format("{} must rise, but {} follows {}", key, bin, bins.back()));
    bins.push_back(centre);
  }
  if (bins.size() < 2) refuse_scale(source, fmt::format("{} has one number, expected at least two", key));
  return bins;
}

RatingScale rating_scale(const config::Source& source) {
  const Ratings ratings = ratings_of(source);
  if (ratings == Ratings::kNone) return {};
  RatingScale scale;
  scale.bins = source.bins().empty() ? source_kind(source.kind()).bins : rising_bins(source, "bins", source.bins());
  if (scale.bins.empty()) {
    refuse_scale(source,
                 fmt::format("bins is missing: the scores of a {} source may be on any scale, so it must be given",
                             config::Source::Kind_Name(source.kind())));
  }
  if (ratings == Ratings::kCounts) {
    const size_t expected = expected_bins(source, scale.bins.size());
    if (scale.bins.size() != expected) {
      refuse_scale(source, fmt::format("bins has {} numbers, expected {}, one for each count of kind {}",
                                       scale.bins.size(), expected, config::Source::Kind_Name(source.kind())));
    }
    return scale;
  }
  const double range = static_cast<double>(scale.bins.back()) - static_cast<double>(scale.bins.front());
  if (source.score_stddev() > range) {
    refuse_scale(source, fmt::format("score_stddev is {}, but its bins reach only from {} to {}", source.score_stddev(),
                                     scale.bins.front(), scale.bins.back()));
  }
  scale.stddev = source.score_stddev() > 0 ? source.score_stddev() : kDefaultStddevShare * range;
  return scale;
}

}  // namespace cskd::shards

// On which scale the pictures of a source are rated.
#pragma once

#include <string>
#include <vector>

#include "config/source.pb.h"
#include "shards/sample.h"

namespace cskd::shards {

// How a source says what people thought of a picture.
enum class Ratings { kNone, kMean, kCounts };
Ratings ratings_of(const config::Source& source);

struct RatingScale {
  std::vector<float> bins;  // rising; empty without ratings
  double stddev = 0;        // of the ratings of one picture, where a source gives their mean alone

  // The label of a mean score; `stddev` as in the source, or that of the scale. Throws DataError when one of the two is
  // impossible on this scale.
  Label label_of(double mean) const { return label_from_mean(mean, stddev, bins); }
};

// Centres of bins that a key of the source gives, in single precision as labels are kept. Throws UsageError naming both
// when they are fewer than two, not finite, or do not rise.
std::vector<float> rising_bins(const config::Source& source, const char* key,
                               const google::protobuf::RepeatedField<double>& centres);

// Of the source's keys, or the defaults of its kind. Throws UsageError naming source and keys when there is no scale in
// them: fewer than two bins, bins that do not rise, bins of a csv source with ratings that are not given, another
// number of bins than of counts, a stddev wider than the bins.
RatingScale rating_scale(const config::Source& source);

// Throws UsageError "source 'NAME': <reason>".
[[noreturn]] void refuse_scale(const config::Source& source, const std::string& reason);

}  // namespace cskd::shards

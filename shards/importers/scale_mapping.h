// Labels on a scale that several sources share (Source.mapped_bins), so that one model learns from all of them.
//
// [ours] The mapping is linear: the source's lowest and highest bin become the two mapped_ends. What lies between two
// bins of the common scale is shared out to both in proportion to how near it is, so that the mean is mapped exactly;
// the variance grows by at most a quarter of a bin's width squared. A label that came from a mean is discretised anew
// around the mapped mean.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "config/source.pb.h"
#include "shards/importers/importer.h"
#include "shards/importers/rating_scale.h"
#include "shards/sample.h"

namespace cskd::shards {

class ScaleMapping {
 public:
  // Nothing without mapped_bins. Throws UsageError naming source and key when they are impossible: no ratings to map,
  // bins that do not rise, ends that are not two rising scores among them.
  static std::optional<ScaleMapping> of(const config::Source& source);

  // `label` is on the source's own scale.
  Label map(const Label& label) const;

  const std::vector<float>& bins() const { return bins_; }  // rising

 private:
  double mapped(double score) const { return first_ + (score - own_.bins.front()) * slope_; }

  RatingScale own_;
  Ratings ratings_ = Ratings::kNone;
  std::vector<float> bins_;
  double first_ = 0;  // what the source's lowest bin becomes
  double slope_ = 1;
};

// Lists what `importer` lists, with mapped labels; the importer itself where there is nothing to map.
std::unique_ptr<Importer> with_scale_mapping(std::unique_ptr<Importer> importer, const config::Source& source);

}  // namespace cskd::shards

#include "shards/importers/scale_mapping.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include <fmt/format.h>

#include "runtime/check.h"
#include "runtime/error.h"

namespace cskd::shards {
namespace {

class MappedImporter final : public Importer {
 public:
  MappedImporter(std::unique_ptr<Importer> importer, ScaleMapping mapping)
      : importer_(std::move(importer)), mapping_(std::move(mapping)) {}

  std::vector<std::string> parts(const TakeEntry& take) const override { return importer_->parts(take); }

  void list(const std::string& part, const TakeEntry& take) const override {
    importer_->list(part, [&](Entry&& entry) {
      if (entry.label) entry.label = mapping_.map(*entry.label);
      take(std::move(entry));
    });
  }

 private:
  std::unique_ptr<Importer> importer_;
  ScaleMapping mapping_;
};

}  // namespace

std::optional<ScaleMapping> ScaleMapping::of(const config::Source& source) {
  if (source.mapped_bins().empty()) {
    if (!source.mapped_ends().empty()) refuse_scale(source, "mapped_ends without mapped_bins has no meaning");
    return std::nullopt;
  }
  ScaleMapping mapping;
  mapping.ratings_ = ratings_of(source);
  if (mapping.ratings_ == Ratings::kNone) refuse_scale(source, "mapped_bins cannot be used: it has no ratings");
  mapping.own_ = rating_scale(source);
  mapping.bins_ = rising_bins(source, "mapped_bins", source.mapped_bins());
  double first = mapping.bins_.front();
  double last = mapping.bins_.back();
  if (!source.mapped_ends().empty()) {
    if (source.mapped_ends_size() != 2) {
      refuse_scale(source,
                   fmt::format("mapped_ends has {} numbers, expected two: what its lowest and its highest bin become",
                               source.mapped_ends_size()));
    }
    const double given_first = source.mapped_ends(0);
    const double given_last = source.mapped_ends(1);
    // Also false for what is not a number.
    if (!(given_first >= first && given_first < given_last && given_last <= last)) {
      refuse_scale(
          source,
          fmt::format("mapped_ends is [{}, {}], expected two rising scores from {} to {}, the ends of mapped_bins",
                      given_first, given_last, first, last));
    }
    first = given_first;
    last = given_last;
  }
  mapping.first_ = first;
  mapping.slope_ = (last - first) / (double{mapping.own_.bins.back()} - double{mapping.own_.bins.front()});
  return mapping;
}

Label ScaleMapping::map(const Label& label) const {
  CSKD_CHECK(label.histogram.size() == own_.bins.size(), "a label of {} bins on a scale of {}", label.histogram.size(),
             own_.bins.size());
  const auto inside = [&](double score) { return std::clamp<double>(mapped(score), bins_.front(), bins_.back()); };
  if (ratings_ == Ratings::kMean) return label_from_mean(inside(label.mean), label.stddev * slope_, bins_);
  std::vector<double> shares(bins_.size());
  for (std::size_t bin = 0; bin < own_.bins.size(); ++bin) {
    const double score = inside(own_.bins[bin]);
    const auto above =
        static_cast<std::size_t>(std::upper_bound(bins_.begin() + 1, bins_.end() - 1, score) - bins_.begin());
    const double width = double{bins_[above]} - double{bins_[above - 1]};
    const double part = std::clamp((score - bins_[above - 1]) / width, 0.0, 1.0);
    shares[above] += part * label.histogram[bin];
    shares[above - 1] += (1 - part) * label.histogram[bin];
  }
  return label_from_counts(shares, bins_);
}

std::unique_ptr<Importer> with_scale_mapping(std::unique_ptr<Importer> importer, const config::Source& source) {
  std::optional<ScaleMapping> mapping = ScaleMapping::of(source);
  if (!mapping) return importer;
  return std::make_unique<MappedImporter>(std::move(importer), *std::move(mapping));
}

}  // namespace cskd::shards

// Linear probe and nearest neighbours of frozen features: how well scores follow from them.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "analysis/findings.h"
#include "analysis/picture_share.h"
#include "batches/batches.h"
#include "data/corpus.h"
#include "run/context.h"

namespace cskd::analysis {

// The pictures of the probes and their scores.
class ProbeSet {
 public:
  // Labelled training pictures, as many as the largest of analyze.label_fractions, and those that predictions are
  // judged on.
  ProbeSet(const run::Context& context, const batches::CheckedCorpus& corpus);

  // Why there is nothing to probe; empty: there is.
  const std::string& reason() const { return reason_; }
  const data::SampleSet& training() const { return training_; }
  const data::SampleSet& judged() const { return judged_; }

  // Mean scores of some pictures of a set, float64.
  at::Tensor scores(const data::SampleSet& set, const std::vector<std::uint64_t>& numbers) const;

 private:
  const batches::CheckedCorpus& corpus_;
  std::string reason_;
  std::vector<double> bin_centres_;
  data::SampleSet training_, judged_;
};

// `training`, `judged`: this rank's share of the sets. For each of analyze.label_fractions, the largest first.
// Collective; the same on every rank.
std::vector<ProbeFigures> probe(const ProbeSet& set, const FeatureRows& training, const FeatureRows& judged,
                                const run::Context& context, const batches::CheckedCorpus& corpus);

// Spearman's correlation with its bootstrap 95 % interval over pictures; NaN when either is constant.
metrics::Estimate srcc_with_interval(const std::vector<double>& predicted, const std::vector<double>& rated,
                                     int resamples, std::uint64_t seed);

}  // namespace cskd::analysis

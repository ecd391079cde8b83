// The validation of a training's averaged weights: whole ones, squeezed into a square, in the
// training's precision. Pictures that became unreadable are left out.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>

#include "batches/batches.h"
#include "inference/stage_model.h"
#include "run/context.h"

namespace cskd::evaluation {

using Figures = std::vector<std::pair<std::string, double>>;

// Of score distributions: "validation/srcc", "validation/plcc", "validation/accuracy", "validation/emd2" (r = 2).
class ScoreValidation {
 public:
  ScoreValidation(const batches::CheckedCorpus& corpus, const run::Context& context);

  // Collective; equal on every rank. Throws UsageError when there are fewer than two validation pictures.
  Figures operator()(models::HeadedEncoder& model);

 private:
  const batches::CheckedCorpus& corpus_;
  const run::Context& context_;
};

// Of a tower's features: "validation/cosine" and "validation/smooth_l1", as Stage I's losses. The tower sees the
// pictures once, at the first call.
class FeatureValidation {
 public:
  FeatureValidation(const batches::CheckedCorpus& corpus, const run::Context& context, const config::Tower& tower);

  // As above; one picture is enough.
  Figures operator()(models::HeadedEncoder& model);

 private:
  const batches::CheckedCorpus& corpus_;
  const run::Context& context_;
  const config::Tower& tower_;
  at::Tensor targets_;  // [N, D]
};

}  // namespace cskd::evaluation

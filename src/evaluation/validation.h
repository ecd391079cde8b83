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

// Of towers' pooled features: "validation/cosine" and "validation/smooth_l1", as Stage I's losses, means over the
// towers. These see the pictures once, at the first call.
class FeatureValidation {
 public:
  FeatureValidation(const batches::CheckedCorpus& corpus, const run::Context& context,
                    std::vector<const config::Tower*> towers);

  // As above; one picture is enough.
  Figures operator()(models::HeadedEncoder& model);

 private:
  const batches::CheckedCorpus& corpus_;
  const run::Context& context_;
  const std::vector<const config::Tower*> towers_;
  std::vector<at::Tensor> targets_;  // [N, D] of each tower
};

}  // namespace cskd::evaluation

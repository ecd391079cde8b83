// What a training's averaged weights make of the validation pictures: whole ones, squeezed into a square, in the
// training's precision. Pictures that became unreadable are left out.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>

#include "stages/batches.h"
#include "stages/context.h"
#include "stages/model_setup.h"

namespace cskd::stages {

using Figures = std::vector<std::pair<std::string, double>>;

// Of score distributions: "validation/srcc", "validation/plcc", "validation/accuracy", "validation/emd" (r = 2).
class ScoreValidation {
 public:
  ScoreValidation(const CheckedCorpus& corpus, const Context& context);

  // Collective; equal on every rank. Throws UsageError when there are fewer than two validation pictures.
  Figures operator()(models::HeadedEncoder& model);

 private:
  const CheckedCorpus& corpus_;
  const Context& context_;
};

// Of CLIP's features: "validation/cosine" and "validation/smooth_l1", as Stage I's losses. The CLIP encoder sees the
// pictures once, at the first call.
class FeatureValidation {
 public:
  FeatureValidation(const CheckedCorpus& corpus, const Context& context);

  // As above; one picture is enough.
  Figures operator()(models::HeadedEncoder& model);

 private:
  const CheckedCorpus& corpus_;
  const Context& context_;
  at::Tensor targets_;  // [N, D]
};

}  // namespace cskd::stages

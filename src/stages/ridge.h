// Score heads in closed form on the features of frozen models: the stage ridge.
#pragma once

#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "data/corpus.h"
#include "optim/ridge_regression.h"
#include "run/context.h"
#include "stages/model_source.h"
#include "stages/training_setup.h"

namespace cskd::stages {

// A linear layer [K, D], [K] whose softmax is a distribution over K bins.
struct ScoreLayer {
  at::Tensor weight, bias;  // float64
};

// A layer whose distribution, for features x, is the normal density with mean m = function(x) and standard deviation
// `width` at the bin centres, normalised: its logits (2 c m - c^2) / (2 width^2) are linear in x. Its mean rises with
// m everywhere; it is m to a hundredth of a bin where m lies three widths from the ends of the scale and bins are no
// wider than 1.3 widths, and is drawn to the middle nearer to the ends. REQUIRES: width > 0
ScoreLayer score_layer(const optim::LinearFunction& function, const std::vector<double>& bin_centres, double width);

// How wide a picture's ratings spread: the root of the mean variance of label distributions [n, K], but three quarters
// of the mean distance of bins at least, so that the distribution has a mean between bins.
double rating_width(const at::Tensor& labels, const std::vector<double>& bin_centres);

// Views that the source looks at, for estimates of time.
TeacherPass ridge_pass(const config::Config& config, const std::string& name);

// Throws UsageError where a corpus has too few labels to leave some out.
void require_ridge_labels(const config::Config& config, const std::string& name, const data::Corpus& corpus);

// Writes <run>/ridge/<name>: model.safetensors, model_card.md. Collective; the same bytes on any number of ranks.
// Facts: labels, unreadable, folds, alpha, r2 (of the folds left out), width, and the figures of the validation split
// where there is one. Throws UsageError as require_ridge_labels(), DataError as predict().
run::StageOutcome run_ridge(const run::Context& context, const std::string& name);

}  // namespace cskd::stages

// Score distributions that a trained model predicts for many pictures, shared out over ranks.
#pragma once

#include <cstdint>
#include <functional>

#include <ATen/core/Tensor.h>

#include "data/view.h"
#include "models/headed_encoder.h"
#include "stages/batches.h"
#include "stages/context.h"

namespace cskd::stages {

struct Prediction {
  data::TestViews views = data::TestViews::kWhole;
  // A picture that can no longer be read becomes NaN, and is counted; otherwise it is an error.
  bool leave_out_damaged = false;
};

// Distributions over bins [N, V, K], float32, on the CPU, of all samples of the set in the prediction's views.
// Collective; every rank gets all. The model is in evaluation mode.
// `progress(done, total)` on rank 0. Throws as DamageLog, and DataError that names shard and row.
at::Tensor predict_distributions(models::HeadedEncoder& model, const CheckedCorpus& corpus,
                                 const data::SampleSet& samples, const Prediction& prediction, const Context& context,
                                 const std::function<void(std::int64_t, std::int64_t)>& progress);

}  // namespace cskd::stages

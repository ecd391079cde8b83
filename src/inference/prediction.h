// Predictions of a model for many pictures, shared out over ranks.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include <ATen/core/Tensor.h>

#include "batches/batches.h"
#include "data/view.h"
#include "models/headed_encoder.h"
#include "run/context.h"

namespace cskd::inference {

struct Prediction {
  data::TestViews views = data::TestViews::kWhole;
  // A picture that can no longer be read becomes NaN, and is counted; otherwise it is an error.
  bool leave_out_damaged = false;
  // A signal ends it early, with Stopped on all ranks; false: short work, whose caller looks at signals.
  bool heeds_signals = true;
  const char* doing = "pictures were looked at";  // for messages
};

// What a network makes of uint8 pixels [n, side, side, 3] on the communicator's device: [n, K], float32.
struct Network {
  std::string name;  // for messages
  int side = 0;
  std::function<at::Tensor(const at::Tensor& pixels)> forward;
};

// Outputs [N, V, K], float32, on the CPU, of all samples of the set in the prediction's views. Collective; every rank
// gets all. `progress(done, total)` on rank 0. Throws as DamageLog, Stopped, and DataError that names shard and row,
// also when the network's outputs are not finite there.
at::Tensor predict(const Network& network, const batches::CheckedCorpus& corpus, const data::SampleSet& samples,
                   const Prediction& prediction, const run::Context& context,
                   const std::function<void(std::int64_t, std::int64_t)>& progress);

// predict() of a model's distributions over bins. The model is in evaluation mode.
at::Tensor predict_distributions(models::HeadedEncoder& model, const batches::CheckedCorpus& corpus,
                                 const data::SampleSet& samples, const Prediction& prediction,
                                 const run::Context& context,
                                 const std::function<void(std::int64_t, std::int64_t)>& progress);

}  // namespace cskd::inference

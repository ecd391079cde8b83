// A rank's share of a set of pictures, and what an encoder makes of them.
//
// Note [Fixed shares]
// Pictures are cut into batches, and rank r of n takes batches r, r + n, ... So a picture is always computed in the
// same batch, whatever the number of ranks, and a rank holds the features of the same pictures for every model: what
// compares two models needs no exchange of features.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "batches/batches.h"
#include "data/corpus.h"
#include "models/encoder.h"
#include "run/context.h"

namespace cskd::analysis {

// Pooled features of this rank's share of a set, of the pictures that could be read.
struct FeatureRows {
  at::Tensor features;                 // [n, D] float32 on the CPU
  std::vector<std::uint64_t> numbers;  // in the set, of each row
  std::uint64_t unreadable = 0;        // pictures of this rank's share
};

struct Pass {
  std::string name;  // of the model, for messages
  models::Encoder& encoder;
  models::Request request;
  // Features of the readable pictures of a batch, on the communicator's device. May be empty.
  std::function<void(const models::Features&)> use;
};

// Runs the encoder over this rank's share, whole pictures squeezed into a square. Not collective. `progress(done,
// total)` is of the whole set, as far as this rank can tell. Throws DataError as DamageLog, and one that names the
// model and the picture where pooled features, tokens, queries or keys are not finite.
FeatureRows pass_over(const Pass& pass, const batches::CheckedCorpus& corpus, const data::SampleSet& samples,
                      const run::Context& context,
                      const std::function<void(std::int64_t done, std::int64_t total)>& progress);

}  // namespace cskd::analysis

// Batches of rendered views as tensors.
#pragma once

#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

#include "config/config.pb.h"
#include "data/corpus.h"
#include "data/resize.h"
#include "data/view.h"

namespace cskd::stages {

struct ViewRequest {
  data::SampleRef sample;
  data::View view;
};

// As data.resize of a configuration says.
data::ResizeMode resize_mode(const config::Config& config);

// Pixels [n, side, side, 3], uint8, on the CPU. Throws DataError that names shard and row. Any thread.
at::Tensor render_batch(const data::Corpus& corpus, const std::vector<ViewRequest>& requests, int side,
                        data::ResizeMode mode);

// Label histograms [n, K], float32, on the CPU. REQUIRES: all samples have labels
at::Tensor label_batch(const data::Corpus& corpus, const std::vector<data::SampleRef>& samples);

// Bin centres of the corpus's labels. Throws UsageError when there are none, or sources differ.
std::vector<double> bin_centres(const data::Corpus& corpus);

}  // namespace cskd::stages

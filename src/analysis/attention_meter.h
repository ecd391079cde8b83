// Attention figures of a model, summed over pictures and ranks.
#pragma once

#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "analysis/findings.h"
#include "distributed/communicator.h"
#include "models/encoder.h"

namespace cskd::analysis {

class AttentionMeter {
 public:
  // Of all layers of attention, and of the affinity of tokens on a grid of `affinity_grid` a side where that is at
  // least 2.
  AttentionMeter(const models::EncoderShape& shape, int affinity_grid, int bins);

  // What the encoder is to be asked for.
  models::Request request() const;

  void add(const models::Features& features);

  // Figures over all pictures of all ranks. Collective; once, last.
  void finish(distributed::Communicator& communicator, ModelFindings& findings);

 private:
  // Sums over pictures of one layer, float64 on the CPU.
  struct Sums {
    int grid = 0;
    at::Tensor heads;       // [4, H]: distance, its square, entropy, its square
    at::Tensor histogram;   // [bins], means over heads
    at::Tensor similarity;  // [2]: of heads, and the number of pictures
  };

  void add_maps(const at::Tensor& maps, Sums& sums) const;
  std::vector<HeadFigures> figures_of(const Sums& sums) const;

  const models::EncoderShape shape_;
  const int affinity_grid_;
  const int bins_;
  std::vector<Sums> layers_;
  Sums affinity_;
};

}  // namespace cskd::analysis

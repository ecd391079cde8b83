// Pictures that are mixed in pairs: MixUp (Zhang et al., arXiv 1710.09412).
#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>

#include "data/sampler.h"

namespace cskd::stages {

// Of a micro-batch: each picture becomes `share` of itself and 1 - `share` of the one `offset` places before it.
struct Mix {
  double share = 1;
  std::int64_t offset = 1;

  // Of anything with a row for each picture: pixels, distributions, weights.
  at::Tensor of(const at::Tensor& rows) const;
};

// Beta(a, a), from two Gamma(a) numbers, for the micro-batch that begins at `position` of its stream.
double mix_share(std::uint64_t seed, data::RandomStream stream, std::uint64_t position, double a);

// As MixMatch (Berthelot et al., arXiv 1905.02249, section 3.3): the share is at least a half, so that a picture stays
// what it is for the most part, and partners are drawn among all `pictures` of the micro-batch.
Mix draw_mix(std::uint64_t seed, std::uint64_t position, std::int64_t pictures, double a);

}  // namespace cskd::stages

// Random tensors of analysis tests.
#pragma once

#include <cstdint>

#include <torch/types.h>
#include <torch/utils.h>

namespace cskd::analysis::tests {

// Normally distributed doubles, the same for a seed.
inline at::Tensor random(at::IntArrayRef shape, std::uint64_t seed = 1) {
  torch::manual_seed(seed);
  return torch::randn(shape, at::kDouble);
}

}  // namespace cskd::analysis::tests

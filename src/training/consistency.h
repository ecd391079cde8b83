// Ranks hold the same weights, statistics and optimiser state: a machine that computes wrongly, a lost message or a bug
// of ours makes them drift apart, and a training that goes on so is lost.
#pragma once

#include <cstdint>
#include <string>

#include "distributed/communicator.h"
#include "training/task.h"

namespace cskd::training {

// Compares hashes (XXH3-64 of the bytes) of all tensors with those of rank 0. Collective. Throws Error, on every rank,
// that names the first tensor that differs, the ranks where it does, and the step.
void require_equal_tensors(const NamedTensors& tensors, distributed::Communicator& communicator, std::uint64_t step);

}  // namespace cskd::training

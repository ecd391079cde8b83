// Sums and rows of all ranks.
#pragma once

#include <cstdint>
#include <functional>

#include <ATen/core/Tensor.h>

#include "distributed/communicator.h"

namespace cskd::analysis {

// The sum over ranks of a tensor on the CPU. Collective.
at::Tensor summed(const at::Tensor& own, distributed::Communicator& communicator, const char* label);

// Calls use(rows, rank) with the rows [n, D] of each rank in turn, in blocks of at most `at_once`; ranks may hold
// different numbers of rows, but D > 0 and the type are the same everywhere. `own` is on the CPU, and so is what is
// used. Collective; `use` may call collective operations.
void with_rows_of_all(const at::Tensor& own, std::int64_t at_once, distributed::Communicator& communicator,
                      const std::function<void(const at::Tensor& rows, int rank)>& use);

// Rank 0's tensor in place of this one; on the CPU, of equal type and shape everywhere. Collective.
at::Tensor of_first_rank(const at::Tensor& own, distributed::Communicator& communicator, const char* label);

}  // namespace cskd::analysis

#include "analysis/ranks.h"

#include <algorithm>

#include <ATen/ATen.h>

namespace cskd::analysis {

at::Tensor summed(const at::Tensor& own, distributed::Communicator& communicator, const char* label) {
  // A copy: what is reduced is reduced in place.
  const at::Tensor sum = at::empty_like(own, own.options().device(communicator.device()), at::MemoryFormat::Contiguous);
  sum.copy_(own);
  communicator.all_reduce(sum, distributed::Reduction::kSum, label);
  return sum.to(at::kCPU);
}

at::Tensor of_first_rank(const at::Tensor& own, distributed::Communicator& communicator, const char* label) {
  const at::Tensor values =
      at::empty_like(own, own.options().device(communicator.device()), at::MemoryFormat::Contiguous);
  values.copy_(own);
  communicator.broadcast(values, 0, label);
  return values.to(at::kCPU);
}

void with_rows_of_all(const at::Tensor& own, std::int64_t at_once, distributed::Communicator& communicator,
                      const std::function<void(const at::Tensor& rows, int rank)>& use) {
  const at::Tensor count = at::full({1}, own.size(0), at::kLong).to(communicator.device());
  const std::vector<at::Tensor> counts = communicator.all_gather(count, "rows of ranks");
  for (int rank = 0; rank < communicator.size(); ++rank) {
    const std::int64_t rows = counts[static_cast<std::size_t>(rank)].item<std::int64_t>();
    for (std::int64_t first = 0; first < rows; first += at_once) {
      const std::int64_t taken = std::min(at_once, rows - first);
      at::Tensor block = at::empty({taken, own.size(1)}, own.options().device(communicator.device()));
      if (rank == communicator.rank()) block.copy_(own.slice(0, first, first + taken));
      communicator.broadcast(block, rank, "rows of a rank");
      use(block.to(at::kCPU), rank);
    }
  }
}

}  // namespace cskd::analysis

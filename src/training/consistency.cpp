#include "training/consistency.h"

#include <cstring>
#include <vector>

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "runtime/content_hash.h"
#include "runtime/error.h"

namespace cskd::training {
namespace {

std::int64_t hash_of(const at::Tensor& tensor) {
  const at::Tensor bytes = tensor.detach().to(at::kCPU).contiguous();
  const auto* data = static_cast<const std::byte*>(bytes.data_ptr());
  const std::uint64_t prefix = runtime::content_hash({data, bytes.nbytes()}).prefix();
  std::int64_t hash = 0;
  std::memcpy(&hash, &prefix, sizeof hash);
  return hash;
}

}  // namespace

void require_equal_tensors(const NamedTensors& tensors, distributed::Communicator& communicator, std::uint64_t step) {
  std::vector<std::int64_t> hashes;
  hashes.reserve(tensors.size());
  for (const auto& [name, tensor] : tensors) hashes.push_back(hash_of(tensor));
  const at::Tensor own = at::tensor(at::ArrayRef<std::int64_t>(hashes)).to(communicator.device());
  std::vector<at::Tensor> all = communicator.all_gather(own, "hashes of all tensors");
  for (at::Tensor& each : all) each = each.to(at::kCPU);
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    std::vector<std::size_t> ranks;
    for (std::size_t rank = 1; rank < all.size(); ++rank) {
      if (all[rank].data_ptr<std::int64_t>()[i] != all[0].data_ptr<std::int64_t>()[i]) ranks.push_back(rank);
    }
    if (ranks.empty()) continue;
    throw runtime::Error(
        fmt::format("after step {} '{}' on rank{} {} differs from that of rank 0: a machine computes or copies "
                    "wrongly, or ranks run "
                    "different builds; go on from the last checkpoint without it",
                    step, tensors[i].first, ranks.size() == 1 ? "" : "s", fmt::join(ranks, ", ")));
  }
}

}  // namespace cskd::training

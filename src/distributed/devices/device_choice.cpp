#include "distributed/devices/device_choice.h"

#include <algorithm>
#include <map>
#include <sstream>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "runtime/error.h"

namespace cskd::distributed {
namespace {

constexpr const char* kRemedy =
    "start one rank for each GPU (mpirun --map-by ppr:<GPUs>:node, srun --ntasks-per-node=<GPUs>), or set "
    "CUDA_VISIBLE_DEVICES to nothing to compute on processors";

}  // namespace

std::optional<std::vector<int>> choose_gpus(const std::vector<VisibleGpus>& of_ranks) {
  if (std::ranges::all_of(of_ranks, [](const VisibleGpus& each) { return each.uuids.empty(); })) return std::nullopt;
  std::vector<int> devices;
  devices.reserve(of_ranks.size());
  std::map<std::string, std::size_t> owners;
  for (std::size_t rank = 0; rank < of_ranks.size(); ++rank) {
    const VisibleGpus& visible = of_ranks[rank];
    const std::size_t gpus = visible.uuids.size();
    if (gpus == 0) {
      throw runtime::UsageError(
          fmt::format("rank {} on {} sees no GPU, but other ranks do: {}", rank, visible.host, kRemedy));
    }
    const auto device = gpus == 1 ? std::size_t{0} : static_cast<std::size_t>(visible.local_rank);
    if (device >= gpus) {
      throw runtime::UsageError(fmt::format("rank {} is number {} on {}, which has {} GPUs: {}", rank,
                                            visible.local_rank + 1, visible.host, gpus, kRemedy));
    }
    const auto [owner, is_new] = owners.emplace(visible.uuids[device], rank);
    if (!is_new) {
      throw runtime::UsageError(fmt::format("ranks {} and {} share {} on {}: {}", owner->second, rank,
                                            visible.uuids[device], visible.host, kRemedy));
    }
    devices.push_back(static_cast<int>(device));
  }
  return devices;
}

std::string pack(const VisibleGpus& visible) {
  return fmt::format("{} {} {}", visible.host, visible.local_rank, fmt::join(visible.uuids, " "));
}

VisibleGpus unpack_gpus(const std::string& text) {
  VisibleGpus visible;
  std::istringstream words(text);
  words >> visible.host >> visible.local_rank;
  for (std::string uuid; words >> uuid;) visible.uuids.push_back(uuid);
  return visible;
}

}  // namespace cskd::distributed

// The choice of a GPU for each rank.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace cskd::distributed {

// What a rank sees.
struct VisibleGpus {
  std::string host;
  int local_rank = 0;              // among the ranks of its host
  std::vector<std::string> uuids;  // in the order of CUDA's device numbers
};

// The device number of each rank: its only one, as Slurm binds them, or else the one of its local rank. nullopt: nobody
// sees a GPU. Throws UsageError, with the remedy, when a rank would have none, or two would share one: NCCL cannot do
// that, and ranks on processors and GPUs would wait for each other.
std::optional<std::vector<int>> choose_gpus(const std::vector<VisibleGpus>& of_ranks);

// For an exchange between ranks.
std::string pack(const VisibleGpus& visible);
VisibleGpus unpack_gpus(const std::string& text);

}  // namespace cskd::distributed

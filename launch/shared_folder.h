// A check that a folder is one and the same for all ranks.
#pragma once

#include <chrono>
#include <filesystem>

#include "runtime/world.h"

namespace cskd::launch {

// How long what one host wrote may take to be seen by another: network file systems keep what they know of a folder for
// some seconds.
constexpr std::chrono::seconds kSeenWithin{15};

// Throws UsageError on all ranks, with the hosts, when some of them do not see what rank 0 writes into `folder`: a path
// on each host's own disk, or a file system that is not mounted everywhere. Rank 0 makes it. Collective.
void require_shared_folder(const std::filesystem::path& folder, runtime::World& world);

}  // namespace cskd::launch

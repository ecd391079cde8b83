// The way that files of a folder pass between hosts.
#pragma once

#include <chrono>
#include <filesystem>

#include "doctor/rank_facts.h"
#include "doctor/step_limit.h"
#include "runtime/world.h"

namespace cskd::doctor {

// Rank 0 writes a file and replaces it, the first rank of each host looks for both; each of those writes a file, and
// rank 0 looks for all of them. Waits up to `limit` for each: a name that nobody asked for before is not in the memory
// of a network file system's client, so that seconds suffice; only what was replaced may stay there for a minute.
// Then it is tried whether flock works, and between hosts. Leaves nothing behind. Collective: every rank must call.
// What the first rank of each host found; REQUIRES: `folder` is rank 0's on all ranks
SharedFacts probe_shared_folder(const std::filesystem::path& folder, runtime::World& world, StepLimit& steps,
                                std::chrono::milliseconds limit = std::chrono::seconds(10));

}  // namespace cskd::doctor

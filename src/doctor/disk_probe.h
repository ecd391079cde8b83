// The speed of the disk under a run folder.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>

#include "doctor/rank_facts.h"

namespace cskd::doctor {

// Where a run would write: `run_folder` or, while it does not exist, its nearest existing ancestor. Absolute.
std::filesystem::path existing_ancestor(const std::filesystem::path& run_folder);

// Looks, writes nothing.
FolderFacts look_at_folder(const std::filesystem::path& folder);

// Writes, reads back and removes a temporary file of `bytes` (fewer when less than ten times that is free, or when it
// takes longer than `limit`), and commits five small ones. Leaves nothing behind. Throws Error when the folder cannot
// be written.
DiskFacts measure_disk(const std::filesystem::path& folder, std::uint64_t bytes,
                       std::chrono::milliseconds limit = std::chrono::seconds(4));

}  // namespace cskd::doctor

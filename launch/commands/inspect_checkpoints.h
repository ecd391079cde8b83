// The report of `cskd inspect` on checkpoints.
#pragma once

#include <filesystem>
#include <vector>

#include "runtime/error.h"

namespace cskd::launch {

// The checkpoints that a path means: a checkpoint itself, a folder of them, or the folder of a stage that trains; none
// when it is something else.
std::vector<std::filesystem::path> find_checkpoints(const std::filesystem::path& path);

// Prints a table of them, or all of a single one, and checks every file. kData when one is damaged.
runtime::ExitCode inspect_checkpoints(const std::vector<std::filesystem::path>& checkpoints, bool json);

}  // namespace cskd::launch

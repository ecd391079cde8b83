// A report on checkpoints.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace cskd::inspect {

// The checkpoints that a path means: a checkpoint itself, a folder of them, or the folder of a stage that trains; none
// when it is something else.
std::vector<std::filesystem::path> find_checkpoints(const std::filesystem::path& path);

struct CheckpointReport {
  std::string text;
  bool are_whole = true;
};

// A table of them, or all of a single one; every file is checked. `json`: the same for programs.
CheckpointReport report_on(const std::vector<std::filesystem::path>& checkpoints, bool json);

}  // namespace cskd::inspect

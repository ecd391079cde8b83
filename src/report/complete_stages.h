// The complete stages of a run, as far as people want to know.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace cskd::report {

struct CompleteStage {
  std::string stage;
  double seconds = 0;
  std::uint64_t images = 0;
};

// From <run>/<kind>/complete.json and <run>/<kind>/<name>/complete.json, the earliest first. Whether what they made
// is whole is not looked at; files that are no such records are passed over.
std::vector<CompleteStage> complete_stages(const std::filesystem::path& run);

}  // namespace cskd::report

// A report on a weight file: which encoder it holds, in which layout.
#pragma once

#include <filesystem>
#include <string>

namespace cskd::inspect {

// Whether a path means a weight file: *.safetensors or *.safetensors.index.json.
bool is_weight_file(const std::filesystem::path& path);

struct WeightFileReport {
  std::string text;
  bool is_finite = true;  // nothing that was read is NaN or infinite
};

// From headers alone; with `verify` every number is read. `json`: the same for programs. Throws DataError for a file
// that is no valid safetensors file.
WeightFileReport report_on_weights(const std::filesystem::path& path, bool verify, bool json);

}  // namespace cskd::inspect

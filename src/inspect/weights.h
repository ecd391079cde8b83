// A report on a weight file: which encoder it holds, in which layout; a plug-in.
#pragma once

#include <filesystem>
#include <string>

namespace cskd::inspect {

// Whether a path means a weight file: *.safetensors, *.safetensors.index.json, or a plug-in, *.pt2.
bool is_weight_file(const std::filesystem::path& path);

struct WeightFileReport {
  std::string text;
  bool is_finite = true;  // nothing that was read is NaN or infinite
};

// From headers alone; with `verify` every number is read, and compared with its checksum where there is one. A plug-in
// is run once. `json`: the same for programs. Throws DataError for a file that is not valid.
WeightFileReport report_on_weights(const std::filesystem::path& path, bool verify, bool json);

}  // namespace cskd::inspect

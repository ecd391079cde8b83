#include "doctor/source_probe.h"

#include <algorithm>
#include <system_error>

#include <unistd.h>

namespace cskd::doctor {
namespace {

namespace fs = std::filesystem;

bool has_tar_file(const fs::path& folder) {
  std::error_code error;
  return std::any_of(fs::directory_iterator(folder, error), fs::directory_iterator(),
                     [](const fs::directory_entry& entry) { return entry.path().extension() == ".tar"; });
}

std::string problem_of(const SourceToCheck& source) {
  std::error_code error;
  const fs::file_status status = fs::status(source.path, error);
  if (!fs::exists(status))
    return error && error != std::errc::no_such_file_or_directory ? error.message() : "does not exist";
  if (!fs::is_directory(status)) {
    const bool may_be_a_file = source.kind == "webdataset" || source.kind == "csv";
    if (!may_be_a_file || !fs::is_regular_file(status)) return "is not a folder";
    return ::access(source.path.c_str(), R_OK) == 0 ? "" : "may not be read by this user";
  }
  if (source.kind == "csv") return "is a folder, expected the table";
  if (::access(source.path.c_str(), R_OK | X_OK) != 0) return "may not be read by this user";
  if (fs::is_empty(source.path, error)) return "is empty";
  if (source.kind == "webdataset" && !has_tar_file(source.path)) return "has no .tar file";
  if (source.kind == "ava" && !fs::is_regular_file(source.path / "AVA.txt", error)) return "has no AVA.txt";
  return "";
}

}  // namespace

SourceFacts look_at_source(const SourceToCheck& source) {
  return {.name = source.name, .path = source.path.native(), .problem = problem_of(source)};
}

}  // namespace cskd::doctor

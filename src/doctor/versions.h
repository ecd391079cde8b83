// The libraries that this program runs with.
#pragma once

#include <string>
#include <vector>

namespace cskd::doctor {

struct LibraryVersion {
  std::string name;
  std::string version;
};

// One entry a library, the version of the loaded library where it can be asked, of its headers elsewhere. Works before
// MPI has started.
std::vector<LibraryVersion> library_versions();

// "0.1.0"
std::string program_version();

}  // namespace cskd::doctor

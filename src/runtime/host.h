// The host that this process runs on.
#pragma once

#include <string>

namespace cskd::runtime {

// Throws Error.
std::string host_name();

// Within which a process number means the same process, e.g. "pid:[4026531836]"; "" where it cannot be known. Equal on
// many hosts.
std::string process_namespace();

}  // namespace cskd::runtime

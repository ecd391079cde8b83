// Numbers with their noun.
#pragma once

#include <cstdint>
#include <string>

namespace cskd::runtime {

// "1 host", "2 hosts"
std::string counted(std::uint64_t number, const char* noun);

}  // namespace cskd::runtime

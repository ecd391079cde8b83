// Memory of this process.
#pragma once

#include <cstdint>

namespace cskd::bench {

// Bytes that lie in memory now (not the most that ever did). Throws Error when the system does not tell.
std::uint64_t resident_bytes();
// The most that ever did. Throws as resident_bytes().
std::uint64_t peak_resident_bytes();

}  // namespace cskd::bench

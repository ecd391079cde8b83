// The memory of this process, as the kernel counts it.
#pragma once

#include <cstdint>

namespace cskd::runtime {

// Lets the peak start anew from what is resident now, in bytes, which is returned. 0 where the kernel does not tell.
std::uint64_t reset_peak_memory();

// Most that was resident since, in bytes. 0 where the kernel does not tell.
std::uint64_t peak_memory();

}  // namespace cskd::runtime

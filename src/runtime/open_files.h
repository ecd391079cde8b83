// The number of files that a process may have open.
#pragma once

#include <cstddef>

namespace cskd::runtime {

// Raises the soft limit as far as the hard one allows, to 65,536 at most. Nothing happens where that fails.
void raise_open_files_limit() noexcept;

// The soft limit.
std::size_t open_files_limit() noexcept;

}  // namespace cskd::runtime

// Disk space is checked before a long write, not found missing in the middle of it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace cskd::runtime {

// Bytes an unprivileged writer can still use on the file system of `path`, or of its nearest existing ancestor. Throws
// Error.
std::uint64_t free_space(const std::filesystem::path& path);

// Throws Error that names `what`, the need, what is free and the path, unless `bytes` are free there.
void require_free_space(const std::filesystem::path& path, std::uint64_t bytes, std::string_view what);

// "1.5 GiB", "640 B": binary units, at most one decimal.
std::string format_bytes(std::uint64_t bytes);

}  // namespace cskd::runtime

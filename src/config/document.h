// The bytes of a configuration file, after everything that could be wrong with them short of their meaning.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>

namespace cskd::config {

// Larger files are refused unread: no configuration is that long.
constexpr std::size_t kLargestDocument = std::size_t{1} << 20;

// The text of the file, without a byte order mark. Throws UsageError with path, place and remedy when it is missing, no
// regular file (a folder, a device, a pipe: never waits for one), unreadable, larger than kLargestDocument, not UTF-8
// or has a NUL byte.
std::string read_document(const std::filesystem::path& path);

}  // namespace cskd::config

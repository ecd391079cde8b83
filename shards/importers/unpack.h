// Compressed archives: gzip, bzip2, xz, zstd. Which one it is, their bytes tell.
#pragma once

#include <filesystem>
#include <string>

namespace cskd::shards {

// Whether the file begins as one of these compressions. Throws Error when it cannot be read.
bool is_compressed(const std::string& file);

// Writes to `target` what `file` holds uncompressed, joined pieces one after the other. Throws DataError naming the
// file when it is damaged, cut off, or grows more than 100 times and beyond 64 MiB, which no archive of pictures does;
// Error when the disk is full. Nothing is left of it then.
void unpack(const std::string& file, const std::filesystem::path& target);

}  // namespace cskd::shards

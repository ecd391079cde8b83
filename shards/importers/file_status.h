// The facts of a path that listing needs, from one stat(). Links are followed.
#pragma once

#include <cstdint>
#include <string>

#include <sys/types.h>

namespace cskd::shards {

struct FileStatus {
  enum class Kind { kFile, kFolder, kOther, kMissing };
  Kind kind = Kind::kMissing;  // kMissing: nothing is there, or a link to nothing or to itself; no path is as long
  std::uint64_t size = 0;
  std::int64_t changed = 0;  // modification time, nanoseconds since 1970
  dev_t device = 0;          // device and inode together say which file it is, by whatever path it was reached
  ino_t inode = 0;
};

// Throws Error when it cannot be told, as in a folder that may not be entered.
FileStatus file_status(const std::string& path);

}  // namespace cskd::shards

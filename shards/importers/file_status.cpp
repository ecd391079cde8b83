#include "shards/importers/file_status.h"

#include <algorithm>
#include <cerrno>
#include <limits>

#include <fmt/format.h>
#include <sys/stat.h>

#include "runtime/error.h"

namespace cskd::shards {
namespace {

// File systems keep times that nanoseconds in 64 bits do not reach (beyond 2262): those count as the last second.
std::int64_t nanoseconds(const timespec& time) {
  constexpr std::int64_t kPerSecond = 1'000'000'000;
  constexpr std::int64_t kLast = std::numeric_limits<std::int64_t>::max() / kPerSecond - 1;
  return std::clamp<std::int64_t>(time.tv_sec, -kLast, kLast) * kPerSecond + time.tv_nsec;
}

}  // namespace

FileStatus file_status(const std::string& path) {
  struct stat found {};
  if (::stat(path.c_str(), &found) != 0) {
    if (errno == ENOENT || errno == ENOTDIR || errno == ELOOP || errno == ENAMETOOLONG) return {};
    runtime::throw_system_error(fmt::format("cannot examine {}", path), errno);
  }
  FileStatus status{.size = static_cast<std::uint64_t>(found.st_size),
                    .changed = nanoseconds(found.st_mtim),
                    .device = found.st_dev,
                    .inode = found.st_ino};
  if (S_ISREG(found.st_mode)) {
    status.kind = FileStatus::Kind::kFile;
  } else if (S_ISDIR(found.st_mode)) {
    status.kind = FileStatus::Kind::kFolder;
  } else {
    status.kind = FileStatus::Kind::kOther;
  }
  return status;
}

}  // namespace cskd::shards

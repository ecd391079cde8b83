#include "runtime/range_locks.h"

#include <cerrno>

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include "runtime/error.h"

namespace cskd::runtime {

RangeLocks::RangeLocks(const std::filesystem::path& path)
    : path_(path), descriptor_(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600)) {
  if (descriptor_ < 0) throw_system_error(fmt::format("cannot create {}", path.native()), errno);
}

RangeLocks::~RangeLocks() { ::close(descriptor_); }

bool RangeLocks::set(std::uint64_t number, short kind) {
  struct flock lock {};
  lock.l_type = kind;
  lock.l_whence = SEEK_SET;
  lock.l_start = static_cast<off_t>(number);
  lock.l_len = 1;
  return ::fcntl(descriptor_, F_OFD_SETLK, &lock) == 0;
}

bool RangeLocks::try_shared(std::uint64_t number) {
  if (set(number, F_RDLCK)) return true;
  if (errno == EAGAIN || errno == EACCES) return false;
  throw_system_error(fmt::format("cannot lock a byte of {}", path_.native()), errno);
}

bool RangeLocks::try_exclusive(std::uint64_t number) {
  if (set(number, F_WRLCK)) return true;
  if (errno == EAGAIN || errno == EACCES) return false;
  throw_system_error(fmt::format("cannot lock a byte of {}", path_.native()), errno);
}

void RangeLocks::release(std::uint64_t number) noexcept { set(number, F_UNLCK); }

}  // namespace cskd::runtime

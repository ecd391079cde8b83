// Locks on numbers, between the processes of a host.
#pragma once

#include <cstdint>
#include <filesystem>

namespace cskd::runtime {

// Locks of bytes of one file (F_OFD_SETLK of fcntl(2)), which needs no contents. They go with this object, and with the
// process however it ends. Within one object a lock replaces the one of the same number; objects of one process are
// strangers to each other. Any thread.
class RangeLocks {
 public:
  // Makes the file if there is none. Throws Error.
  explicit RangeLocks(const std::filesystem::path& path);
  ~RangeLocks();
  RangeLocks(const RangeLocks&) = delete;
  RangeLocks& operator=(const RangeLocks&) = delete;

  // False when another one has it, exclusively or at all. Throws Error where the file system has no such locks.
  // REQUIRES: number < 2^62
  bool try_shared(std::uint64_t number);
  bool try_exclusive(std::uint64_t number);
  void release(std::uint64_t number) noexcept;

 private:
  bool set(std::uint64_t number, short kind);

  std::filesystem::path path_;
  int descriptor_ = -1;
};

}  // namespace cskd::runtime

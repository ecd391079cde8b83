// Copies of shared files on a disk of this host.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>

#include "runtime/content_hash.h"

namespace cskd::data {

// Note [Staging]
// A shared file is read as it is until there is a copy, so that nobody waits for one. A thread of each rank makes them,
// in the order in which files were opened first. The ranks of a host, and of several jobs, share a folder:
//
//   <hash>.copy   the copy. The hash is of its contents, where they are known, or else of path, size and time
//   <hash>.ok     says that the copy was whole: contents' hash, size, time of change, and the boot of the host
//   <hash>.tmp    a copy in the making
//   locks         empty; processes lock bytes of it (runtime/range_locks.h), which nobody leaves behind
//
// A copy is read while .ok is there and fits. Otherwise (an earlier boot, or a crash between the two) it is hashed
// first, and made again if it is damaged. What a disk loses later is found by the checksums of rows: the original is
// read then, and the copy made again. So results are the same with and without staging.
//
// To make a copy a rank locks the file's second number, to make room for it the number 0. Copies that were used longest
// ago go first. Whoever reads one holds the file's first number, and that one stays. Where there is no room, the shared
// file is read on.
//
// A disk that is full, or cannot be written, ends the copying of this rank with a warning; nothing fails.
class Staging {
 public:
  struct File {
    std::filesystem::path path;
    std::uint64_t size = 0;
    std::optional<runtime::ContentHash> hash;  // of its contents, where they are known
  };
  struct Place {
    std::filesystem::path path;         // to open
    std::shared_ptr<const void> lease;  // the copy stays as long as this lives; empty: this is the shared file
  };
  struct Counts {
    std::uint64_t copied = 0;  // files, and their bytes
    std::uint64_t copied_bytes = 0;
    std::uint64_t found = 0;    // copies that were there already
    std::uint64_t removed = 0;  // to make room
    std::uint64_t damaged = 0;  // copies that were made again, or given up
    std::uint64_t reads = 0;    // and those of them from copies
    std::uint64_t hits = 0;
    bool is_off = false;
  };

  // Copies of at most `bytes` in all, by all processes of the host together, in `folder`, which is made. What killed
  // processes left is removed. If the folder cannot be used, a warning says so and nothing is copied.
  Staging(std::filesystem::path folder, std::uint64_t bytes);
  // Breaks a copy off that is in the making, and logs how much was copied and how often it was of use.
  ~Staging();
  Staging(const Staging&) = delete;
  Staging& operator=(const Staging&) = delete;

  // Where to read the file now. If that is the shared one, it is copied, and `when_copied` is called, on the thread
  // that copies, once there is a copy; never when there is to be none. Any thread.
  Place place_of(const File& file, std::function<void()> when_copied);
  // The copy turned out to be damaged: it is removed, and will be made again when the file is asked for. Any thread.
  void distrust(const File& file);
  // One read, of the copy or not. Any thread.
  void count_read(bool of_copy) noexcept;

  Counts counts() const;
  // Returns when all that was asked for was tried, and nothing is in the making.
  void settle();

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace cskd::data

#include "runtime/shared_files.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <system_error>
#include <thread>

#include <fcntl.h>
#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "runtime/host.h"

namespace cskd::runtime {
namespace {

namespace fs = std::filesystem;

// Of a disk of this host, where what was written is there. Everything else may be a network, FUSE too.
bool is_local(const fs::path& folder) {
  constexpr std::array<std::uint32_t, 8> kLocal{0xEF53,     0x58465342, 0x9123683E, 0x2FC12FC1,
                                                0x01021994, 0x794C7630, 0x858458F6, 0xF2F52010};
  struct statfs status {};
  if (::statfs(folder.c_str(), &status) != 0) return true;
  return std::find(kLocal.begin(), kLocal.end(), static_cast<std::uint32_t>(status.f_type)) != kLocal.end();
}

bool is_there(const fs::path& path) {
  std::error_code failure;
  const bool found = fs::exists(path, failure);
  return found || (failure && failure != std::errc::no_such_file_or_directory && failure != std::errc::not_a_directory);
}

// A client that changes a folder is told by the server whether it knew the folder's last state, and forgets it if not.
void refresh(const fs::path& folder) {
  std::error_code failure;
  for (fs::directory_iterator entry(folder, failure), end; !failure && entry != end; entry.increment(failure)) {
  }
  const fs::path own = folder / fmt::format(".look-{}-{}", host_name(), ::getpid());
  const int made = ::open(own.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  if (made < 0) return;
  ::close(made);
  ::unlink(own.c_str());
}

}  // namespace

bool wait_until_there(const fs::path& path, std::chrono::milliseconds limit) {
  using Clock = std::chrono::steady_clock;
  if (is_there(path)) return true;
  const fs::path folder = path.has_parent_path() ? path.parent_path() : ".";
  if (is_local(folder)) return false;
  const Clock::time_point start = Clock::now();
  std::chrono::milliseconds pause{5};
  while (Clock::now() - start < limit) {
    refresh(folder);
    if (is_there(path)) {
      spdlog::debug("{} was seen after {:.2f} s", path.native(),
                    std::chrono::duration<double>(Clock::now() - start).count());
      return true;
    }
    std::this_thread::sleep_for(pause);
    pause = std::min(2 * pause, std::chrono::milliseconds(500));
  }
  return is_there(path);
}

bool remove_leftover(const fs::path& path, std::string_view what) noexcept {
  std::error_code failure;
  fs::remove_all(path, failure);
  if (!failure) return true;
  try {
    spdlog::warn("{} {} cannot be removed, and takes room: {}", what, path.native(), failure.message());
  } catch (...) {
    return false;
  }
  return false;
}

}  // namespace cskd::runtime

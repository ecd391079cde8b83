#include "runtime/run_lock.h"

#include <cerrno>
#include <condition_variable>
#include <ctime>
#include <fstream>
#include <mutex>
#include <thread>

#include <fcntl.h>
#include <fmt/chrono.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/error.h"
#include "runtime/failure_point.h"
#include "runtime/host.h"

namespace cskd::runtime {
namespace {

using Milliseconds = std::chrono::milliseconds;

// The first line of the file, at most: what a holder wrote of itself.
std::string holder_in(const std::filesystem::path& path) {
  constexpr size_t kLongest = 512;
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  for (char& c : line) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) c = '?';
  }
  return line.substr(0, kLongest);
}

Milliseconds modified(int descriptor, const std::filesystem::path& path) {
  struct stat status {};
  if (::fstat(descriptor, &status) != 0) throw_system_error(fmt::format("cannot look at {}", path.native()), errno);
  return std::chrono::duration_cast<Milliseconds>(std::chrono::seconds(status.st_mtim.tv_sec) +
                                                  std::chrono::nanoseconds(status.st_mtim.tv_nsec));
}

void touch(int descriptor) { ::futimens(descriptor, nullptr); }

// The file server's time: that of a file which is made for it.
Milliseconds server_time(const std::filesystem::path& lock) {
  std::filesystem::path path = lock;
  path += fmt::format(".{}.{}", host_name(), ::getpid());
  const int descriptor = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (descriptor < 0) throw_system_error(fmt::format("cannot create {}", path.native()), errno);
  const Milliseconds time = modified(descriptor, path);
  ::close(descriptor);
  ::unlink(path.c_str());
  return time;
}

}  // namespace

struct RunLock::State {
  std::filesystem::path path;
  Timing timing;
  int descriptor = -1;
  std::mutex mutex;
  std::condition_variable changed;
  bool stopping = false;
  std::thread thread;

  // Whether the open file is still the one of that name: a holder that ended removed its file.
  bool is_current() const {
    struct stat opened {};
    struct stat named {};
    return ::fstat(descriptor, &opened) == 0 && ::stat(path.c_str(), &named) == 0 && opened.st_ino == named.st_ino &&
           opened.st_dev == named.st_dev;
  }

  // Opens the file and takes the operating system's lock.
  void take() {
    for (;;) {
      descriptor = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
      if (descriptor < 0) throw_system_error(fmt::format("cannot create {}", path.native()), errno);
      if (::flock(descriptor, LOCK_EX | LOCK_NB) != 0) {
        const int error = errno;
        const std::string holder = holder_in(path);
        ::close(descriptor);
        if (error != EWOULDBLOCK) throw_system_error(fmt::format("cannot lock {}", path.native()), error);
        throw UsageError(fmt::format("another job works in {}: {}. Wait until it is done, or choose another run.folder",
                                     path.parent_path().native(),
                                     holder.empty() ? "a process that just started" : holder));
      }
      if (is_current()) return;
      ::close(descriptor);
    }
  }

  // Until the holder that the file names has given no sign of life for long enough.
  void wait_for_holder(const std::function<void(const std::string&)>& tell) const {
    const std::string holder = holder_in(path);
    if (holder.empty()) return;
    const bool is_own_host = holder.starts_with(host_name() + ",");
    bool is_told = false;
    const Milliseconds first = modified(descriptor, path);
    while (!is_own_host) {
      const Milliseconds last = modified(descriptor, path);
      if (last != first) {
        throw UsageError(fmt::format("another job works in {}: {}. Wait until it is done, or choose another run.folder",
                                     path.parent_path().native(), holder));
      }
      // A time in the future is no sign of life either.
      const Milliseconds age = std::chrono::abs(server_time(path) - last);
      if (age >= timing.stale_after) break;
      if (!is_told) {
        tell(fmt::format("{} names {}: waiting up to {:.0f} s for another sign of life", path.native(), holder,
                         std::chrono::duration<double>(timing.stale_after - age).count()));
      }
      is_told = true;
      std::this_thread::sleep_for(timing.poll);
    }
    tell(fmt::format("{} was left by {}, which ended without a word: taken over", path.native(), holder));
  }

  void sign() const {
    failure_point("run_lock.write", path.native());
    const std::string text = fmt::format("{}, process {}, since {:%Y-%m-%d %H:%M:%S} UTC\n", host_name(), ::getpid(),
                                         fmt::gmtime(std::time(nullptr)));
    if (::ftruncate(descriptor, 0) != 0 || ::pwrite(descriptor, text.data(), text.size(), 0) < 0)
      throw_system_error(fmt::format("cannot write {}", path.native()), errno);
  }

  void live() {
    std::unique_lock lock(mutex);
    while (!changed.wait_for(lock, timing.sign_of_life, [this] { return stopping; })) touch(descriptor);
  }
};

RunLock::RunLock(const std::filesystem::path& folder, const std::function<void(const std::string&)>& tell)
    : RunLock(folder, tell, Timing{}) {}

RunLock::RunLock(const std::filesystem::path& folder, const std::function<void(const std::string&)>& tell,
                 Timing timing)
    : state_(std::make_unique<State>()) {
  state_->path = folder / "run.lock";
  state_->timing = timing;
  state_->take();
  try {
    state_->wait_for_holder(tell);
    state_->sign();
  } catch (...) {
    ::close(state_->descriptor);
    throw;
  }
  state_->thread = std::thread([state = state_.get()] { state->live(); });
}

RunLock::~RunLock() {
  {
    const std::lock_guard lock(state_->mutex);
    state_->stopping = true;
  }
  state_->changed.notify_all();
  state_->thread.join();
  ::unlink(state_->path.c_str());
  ::close(state_->descriptor);
}

}  // namespace cskd::runtime

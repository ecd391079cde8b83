#include "runtime/run_lock.h"

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/error.h"
#include "runtime/failure_point.h"
#include "runtime/lock_holder.h"

namespace cskd::runtime {
namespace {

using Clock = std::chrono::steady_clock;
using Milliseconds = std::chrono::milliseconds;

constexpr std::size_t kLargestLock = 4096;  // of a lock file
constexpr std::size_t kMostClaims = 1000;

bool is_missing_call(int error) {
  static_assert(ENOTSUP == EOPNOTSUPP);
  return error == ENOSYS || error == ENOTSUP || error == ENOLCK || error == EPERM;
}

Milliseconds modified(const struct stat& status) {
  return std::chrono::duration_cast<Milliseconds>(std::chrono::seconds(status.st_mtim.tv_sec) +
                                                  std::chrono::nanoseconds(status.st_mtim.tv_nsec));
}

// A lock file as it was found.
struct Found {
  LockHolder holder;
  Milliseconds modified{};
  bool is_locked = false;  // somebody holds a flock on it
  bool can_lock = false;   // this host can ask
};

void write_all(int descriptor, const std::string& text, const std::filesystem::path& path) {
  const ssize_t written = ::pwrite(descriptor, text.data(), text.size(), 0);
  if (written != static_cast<ssize_t>(text.size()))
    throw_system_error(fmt::format("cannot write {}", path.native()), written < 0 ? errno : ENOSPC);
}

}  // namespace

struct RunLock::State {
  std::filesystem::path path;
  std::function<void(const std::string&)> tell;
  Timing timing;
  Calls calls;
  LockHolder self;
  std::filesystem::path own;           // the file that is to become run.lock
  int descriptor = -1;                 // of it, or of run.lock once that is it
  std::vector<std::string> withdrawn;  // ids of this process that it gave up
  bool is_held = false;
  std::mutex mutex;
  std::condition_variable changed;
  bool stopping = false;
  std::thread thread;

  ~State() {
    // Before the descriptor goes, and a flock with it.
    if (is_held && is_own(path)) ::unlink(path.c_str());
    ::unlink(own.c_str());
    if (descriptor >= 0) ::close(descriptor);
  }

  std::filesystem::path beside(std::string_view ending) const {
    std::filesystem::path name = path;
    name += ".";
    name += ending;
    return name;
  }
  std::filesystem::path claim_after(const LockHolder& holder) const { return beside("after-" + holder.id); }

  // Nothing when there is no such file.
  std::optional<Found> look(const std::filesystem::path& file) const {
    const int opened = ::open(file.c_str(), O_RDWR | O_CLOEXEC);
    if (opened < 0) {
      if (errno == ENOENT || errno == ESTALE) return std::nullopt;
      throw_system_error(fmt::format("cannot open {}", file.native()), errno);
    }
    Found found;
    std::string contents(kLargestLock, '\0');
    struct stat status {};
    const ssize_t size = ::pread(opened, contents.data(), contents.size(), 0);
    const int error = size < 0 || ::fstat(opened, &status) != 0 ? errno : 0;
    if (error == 0) {
      // Shared: those who only ask are not in each other's way.
      found.can_lock = calls.flock(opened, LOCK_SH | LOCK_NB) == 0;
      found.is_locked = !found.can_lock && errno == EWOULDBLOCK;
    }
    ::close(opened);
    if (error == ESTALE) return std::nullopt;
    if (error != 0) throw_system_error(fmt::format("cannot read {}", file.native()), error);
    contents.resize(static_cast<std::size_t>(size));
    found.holder = LockHolder::parse(contents);
    found.modified = modified(status);
    return found;
  }

  bool is_own(const std::filesystem::path& file) const {
    try {
      const auto found = look(file);
      return found && found->holder.id == self.id;
    } catch (const Error&) {
      return false;
    }
  }

  // Takes a lock of the operating system where there are any, and writes who this is.
  void sign(int target, const std::filesystem::path& file) {
    if (calls.flock(target, LOCK_EX | LOCK_NB) == 0) {
      self.has_flock = true;
    } else if (is_missing_call(errno) || errno == EWOULDBLOCK) {  // or somebody asks just now whether there is one
      self.has_flock = false;
    } else {
      throw_system_error(fmt::format("cannot lock {}", file.native()), errno);
    }
    write_all(target, self.contents(), file);
  }

  void write_own() {
    self = LockHolder::self();
    own = beside(self.id);
    descriptor = ::open(own.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (descriptor < 0) throw_system_error(fmt::format("cannot create {}", own.native()), errno);
    failure_point("run_lock.write", own.native());
    sign(descriptor, own);
  }

  void remove_own() {
    ::unlink(own.c_str());
    if (descriptor >= 0) ::close(std::exchange(descriptor, -1));
  }

  // Gives the own file, or one like it, the name `target` unless there is such a file. False when there is, or when the
  // own file is gone (somebody took it for a leftover).
  bool name_exclusively(const std::filesystem::path& target) {
    if (calls.link(own.c_str(), target.c_str()) == 0) return true;
    const int error = errno;
    if (error == EEXIST || error == ENOENT) {
      // Over NFS a request that was answered may be sent again, and then fails.
      struct stat linked {};
      struct stat found {};
      return ::fstat(descriptor, &linked) == 0 && ::stat(target.c_str(), &found) == 0 &&
             linked.st_ino == found.st_ino && linked.st_dev == found.st_dev;
    }
    if (!is_missing_call(error) && error != EMLINK)
      throw_system_error(fmt::format("cannot create {}", target.native()), error);
    const int made = ::open(target.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (made < 0) {
      if (errno == EEXIST) return false;
      throw_system_error(fmt::format("cannot create {}", target.native()), errno);
    }
    if (target == path) {
      sign(made, target);
      ::close(std::exchange(descriptor, made));
    } else {
      LockHolder claimant = self;
      claimant.has_flock = false;
      write_all(made, claimant.contents(), target);
      ::close(made);
    }
    return true;
  }

  // The time of the file server; nothing when the own file is gone.
  std::optional<Milliseconds> server_time() const {
    struct stat status {};
    if (::futimens(descriptor, nullptr) != 0 || ::fstat(descriptor, &status) != 0)
      throw_system_error(fmt::format("cannot touch {}", own.native()), errno);
    if (status.st_nlink == 0) return std::nullopt;
    return modified(status);
  }

  [[noreturn]] void refuse(const LockHolder& holder) const {
    throw UsageError(fmt::format("another job works in {}: {}. Wait until it is done, or choose another run.folder",
                                 path.parent_path().native(),
                                 holder.text.empty() ? "a process that just started" : holder.text));
  }

  // Whether the holder in `file` is gone. Waits while that is not certain; false when the file is another one by then.
  // Throws UsageError when it lives.
  bool is_gone(const std::filesystem::path& file, const Found& first) const {
    constexpr std::chrono::hours kLong{24};
    const Clock::time_point begun = Clock::now();
    bool is_told = false;
    for (;;) {
      const auto found = look(file);
      const auto now = server_time();
      if (!found || !now || found->holder.id != first.holder.id) return false;
      const LockHolder& holder = found->holder;
      if (std::find(withdrawn.begin(), withdrawn.end(), holder.id) != withdrawn.end()) return true;
      if (found->is_locked || found->modified != first.modified) refuse(holder);
      if (holder.has_flock && found->can_lock && holder.is_of_this_host()) return true;
      if (const auto lives = holder.lives()) {
        if (*lives) refuse(holder);
        return true;
      }
      // A time in the future is no sign of life either.
      const Milliseconds age = std::chrono::abs(*now - found->modified);
      const auto watched = std::chrono::duration_cast<Milliseconds>(Clock::now() - begun);
      const Milliseconds left =
          age >= kLong ? Milliseconds(0) : std::max(timing.stale_after - age, timing.sign_of_life * 3 / 2 - watched);
      if (left <= Milliseconds(0)) return true;
      if (!is_told) {
        tell(fmt::format("{} names {}: waiting up to {:.0f} s for another sign of life", path.native(), holder.text,
                         std::chrono::duration<double>(left).count()));
      }
      is_told = true;
      std::this_thread::sleep_for(std::min(timing.poll, left));
    }
  }

  // One try to take over from the holder in run.lock, and from whoever was killed while taking over from it.
  bool take_over(const Found& root) {
    std::vector<std::filesystem::path> claims;
    Found last = root;
    std::filesystem::path file = path;
    for (;;) {
      const std::filesystem::path claim = claim_after(last.holder);
      const auto claimant = look(claim);
      claims.push_back(claim);
      if (!claimant) break;
      if (claims.size() > kMostClaims)
        throw Error(fmt::format("{}.after-* follow each other without end; remove them by hand", path.native()));
      last = *claimant;
      file = claim;
    }
    if (!is_gone(file, last)) return false;
    failure_point("run_lock.claim", own.native());
    if (!name_exclusively(claims.back())) return false;
    const auto still = look(path);
    if (!still || still->holder.id != root.holder.id) {
      ::unlink(claims.back().c_str());
      return false;
    }
    failure_point("run_lock.replace", own.native());
    if (::rename(own.c_str(), path.c_str()) != 0) {
      const int error = errno;
      ::unlink(claims.back().c_str());
      if (error == ENOENT) return false;
      throw_system_error(fmt::format("cannot rename {} to {}", own.native(), path.native()), error);
    }
    // Whoever took this process for gone meanwhile made a claim before it looked at run.lock: one of the two sees it.
    // Then run.lock stays, for the one that replaces it.
    if (look(claim_after(self))) {
      withdrawn.push_back(self.id);
      return false;
    }
    tell(fmt::format("{} was left by {}, which ended without a word: taken over", path.native(), last.holder.text));
    for (const std::filesystem::path& claim : claims) ::unlink(claim.c_str());
    return true;
  }

  void take() {
    while (!is_held) {
      if (descriptor < 0) write_own();
      is_held = name_exclusively(path);
      if (is_held) break;
      const auto root = look(path);
      is_held = root && take_over(*root);
      if (is_held) break;
      // Another id, as others may count the old one as gone by now.
      remove_own();
      std::this_thread::sleep_for(std::min(timing.poll, Milliseconds(20)));
    }
    ::unlink(own.c_str());
    remove_leftovers();
  }

  // What killed starters left.
  void remove_leftovers() const {
    const auto now = server_time();
    if (!now) return;
    std::error_code ignored;
    for (const auto& item : std::filesystem::directory_iterator(path.parent_path(), ignored)) {
      struct stat status {};
      if (!item.path().filename().native().starts_with(path.filename().native() + ".")) continue;
      if (::stat(item.path().c_str(), &status) != 0) continue;
      if (std::chrono::abs(*now - modified(status)) > 2 * timing.stale_after) ::unlink(item.path().c_str());
    }
  }

  void live() {
    constexpr int kLooks = 2;  // a network file system may fail once
    int missed = 0;
    std::unique_lock lock(mutex);
    while (!changed.wait_for(lock, timing.sign_of_life, [this] { return stopping; })) {
      ::futimens(descriptor, nullptr);
      if (missed >= kLooks) continue;
      missed = is_own(path) ? 0 : missed + 1;
      if (missed < kLooks) continue;
      tell(
          fmt::format("{} is no longer the lock of this job: another one took it over while this one gave no sign of "
                      "life, or it was removed by hand. Two jobs in one run folder spoil it: end one of them",
                      path.native()));
    }
  }
};

RunLock::RunLock(const std::filesystem::path& folder, const std::function<void(const std::string&)>& tell)
    : RunLock(folder, tell, Timing{}) {}

RunLock::RunLock(const std::filesystem::path& folder, const std::function<void(const std::string&)>& tell,
                 Timing timing)
    : RunLock(folder, tell, timing, Calls{}) {}

RunLock::RunLock(const std::filesystem::path& folder, const std::function<void(const std::string&)>& tell,
                 Timing timing, Calls calls)
    : state_(std::make_unique<State>()) {
  state_->path = folder / "run.lock";
  state_->tell = tell;
  state_->timing = timing;
  state_->calls = {calls.flock != nullptr ? calls.flock : ::flock, calls.link != nullptr ? calls.link : ::link};
  state_->take();
  state_->thread = std::thread([state = state_.get()] { state->live(); });
}

RunLock::~RunLock() {
  {
    const std::lock_guard lock(state_->mutex);
    state_->stopping = true;
  }
  state_->changed.notify_all();
  state_->thread.join();
}

}  // namespace cskd::runtime

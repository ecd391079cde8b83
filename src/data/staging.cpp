#include "data/staging.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <fstream>
#include <map>
#include <mutex>
#include <set>
#include <span>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/error.h"
#include "runtime/failure_point.h"
#include "runtime/free_space.h"
#include "runtime/input_file.h"
#include "runtime/range_locks.h"

namespace cskd::data {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr std::uint64_t kSpace = 0;  // the number of the lock for making room
constexpr std::uint64_t kBlock = 4ULL << 20;
// Until what another rank copies is looked at again.
constexpr std::chrono::milliseconds kPause{100};
constexpr std::chrono::seconds kLongestPause{5};
constexpr std::chrono::seconds kNoRoom{1};  // without a look for more of it

struct Interrupted {};       // by the destructor
struct SharedFileFailed {};  // its readers meet the same error, and say so

std::string boot_of_host() {
  std::ifstream file("/proc/sys/kernel/random/boot_id");
  std::string id;
  std::getline(file, id);
  return id.empty() ? "unknown" : id;
}

std::int64_t nanoseconds(const timespec& time) { return std::int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec; }

std::string name_of(const Staging::File& file) {
  if (file.hash) return file.hash->hex();
  struct stat status {};
  runtime::ContentHasher hasher;
  hasher.add_field(fs::absolute(file.path).lexically_normal().native());
  hasher.add_field(file.size);
  hasher.add_field(::stat(file.path.c_str(), &status) == 0 ? static_cast<std::uint64_t>(nanoseconds(status.st_mtim))
                                                           : 0);
  return hasher.hash().hex();
}

// The numbers of a file's locks: even ones are held by its readers, the odd ones after them by who copies it.
std::uint64_t reader_number(const std::string& name) { return (runtime::content_hash(name).prefix() >> 3U << 1U) + 2; }
std::uint64_t copier_number(const std::string& name) { return reader_number(name) + 1; }

// What is written beside a copy.
struct Voucher {
  std::string hash;
  std::uint64_t size = 0;
  std::int64_t changed = 0;
  std::string boot;

  bool operator==(const Voucher&) const = default;
};

std::optional<Voucher> read_voucher(const fs::path& path) {
  std::ifstream file(path);
  Voucher voucher;
  if (file >> voucher.hash >> voucher.size >> voucher.changed >> voucher.boot) return voucher;
  return std::nullopt;
}

class Descriptor {
 public:
  Descriptor(const fs::path& path, int flags) : number_(::open(path.c_str(), flags | O_CLOEXEC | O_NOFOLLOW, 0600)) {
    if (number_ < 0) runtime::throw_system_error(fmt::format("cannot create {}", path.native()), errno);
  }
  ~Descriptor() { ::close(number_); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return number_; }

 private:
  int number_;
};

void remove_quietly(const fs::path& path) {
  std::error_code ignored;
  fs::remove(path, ignored);
}

// A folder that others may write to would let them change what is trained on.
void require_own_folder(const fs::path& folder) {
  std::error_code error;
  const bool is_new = fs::create_directories(folder, error);
  if (error) runtime::throw_system_error(fmt::format("cannot create {}", folder.native()), error.value());
  struct stat status {};
  if (::stat(folder.c_str(), &status) != 0)
    runtime::throw_system_error(fmt::format("cannot look at {}", folder.native()), errno);
  if (!S_ISDIR(status.st_mode)) throw runtime::Error(fmt::format("{} is not a folder", folder.native()));
  if (is_new) {
    if (::chmod(folder.c_str(), 0700) != 0)
      runtime::throw_system_error(fmt::format("cannot change the permissions of {}", folder.native()), errno);
  } else if (status.st_uid != ::geteuid() || (status.st_mode & 0022U) != 0) {
    throw runtime::Error(fmt::format(
        "{} belongs to another user, or may be written by others; choose a folder of your own", folder.native()));
  }
}

}  // namespace

struct Staging::State : std::enable_shared_from_this<State> {
  struct Request {
    File file;
    std::string name;
    std::vector<std::function<void()>> callbacks;
    Clock::time_point not_before;
    Clock::duration pause = kPause;
    bool is_tried = false;
  };
  // kNoRoom: it is asked for again when it is opened again.
  enum class Outcome { kThere, kLater, kNoRoom, kNever };

  fs::path folder;
  std::uint64_t limit = 0;
  std::string boot = boot_of_host();
  std::optional<runtime::RangeLocks> locks;
  std::atomic<std::uint64_t> reads{0};
  std::atomic<std::uint64_t> hits{0};
  std::atomic<bool> stopping{false};

  mutable std::mutex mutex;
  std::condition_variable changed;
  Counts counts;
  std::map<std::string, int> leased;  // how often
  std::deque<Request> requests;
  bool is_busy = false;
  std::set<std::string> hopeless;  // files that are not copied
  Request* under_way = nullptr;
  std::thread thread;

  // Of that thread alone.
  std::string in_the_making;
  Clock::time_point no_room_until;

  fs::path copy(const std::string& name) const { return folder / (name + ".copy"); }
  fs::path voucher(const std::string& name) const { return folder / (name + ".ok"); }
  fs::path temporary(const std::string& name) const { return folder / (name + ".tmp"); }

  void turn_off(const std::exception& error) {
    const std::lock_guard lock(mutex);
    if (!counts.is_off) {
      spdlog::warn("no more files are copied to {}: {}; shared files are read instead", folder.native(),
                   runtime::messages(error).back());
    }
    counts.is_off = true;
  }

  // What a voucher of the copy must say, but for the hash; nothing when there is no copy of that size.
  std::optional<Voucher> look(const std::string& name, const File& file) const {
    struct stat status {};
    if (::stat(copy(name).c_str(), &status) != 0 || static_cast<std::uint64_t>(status.st_size) != file.size)
      return std::nullopt;
    return Voucher{.hash = file.hash ? file.hash->hex() : "",
                   .size = file.size,
                   .changed = nanoseconds(status.st_mtim),
                   .boot = boot};
  }

  bool is_vouched_for(const std::string& name, const File& file) const {
    auto expected = look(name, file);
    const auto found = read_voucher(voucher(name));
    if (!expected || !found) return false;
    if (!file.hash) expected->hash = found->hash;
    return *found == *expected;
  }

  void vouch(const std::string& name, const File& file, const std::string& hash) const {
    const auto found = look(name, file);
    if (!found) return;
    std::ofstream stream(voucher(name));
    stream << fmt::format("{} {} {} {}\n", hash, found->size, found->changed, found->boot);
    if (!stream.flush()) throw runtime::Error(fmt::format("cannot write {}", voucher(name).native()));
  }

  // A lease of the copy, if it may be read. REQUIRES: the mutex is held
  std::shared_ptr<const void> lease_of(const std::string& name, const File& file) {
    const auto known = leased.find(name);
    if (known == leased.end() && !locks->try_shared(reader_number(name))) return nullptr;  // it is being removed
    if (!is_vouched_for(name, file)) {
      if (known == leased.end()) locks->release(reader_number(name));
      return nullptr;
    }
    ++leased[name];
    return {static_cast<const void*>(this), [state = shared_from_this(), name](const void*) {
              const std::lock_guard lock(state->mutex);
              if (--state->leased.at(name) > 0) return;
              state->leased.erase(name);
              state->locks->release(reader_number(name));
            }};
  }

  // Removes a copy that nobody reads. REQUIRES: the mutex is held
  bool remove_unused(const std::string& name) {
    if (leased.contains(name) || !locks->try_exclusive(reader_number(name))) return false;
    remove_quietly(voucher(name));
    remove_quietly(copy(name));
    locks->release(reader_number(name));
    return true;
  }

  // Bytes of all copies, also of those in the making; what is left of killed ones goes.
  std::uint64_t bytes_in_folder(std::vector<std::pair<std::int64_t, std::string>>& by_use) {
    std::uint64_t bytes = 0;
    for (const auto& item : fs::directory_iterator(folder)) {
      const std::string ending = item.path().extension().native();
      const std::string name = item.path().stem().native();
      if (ending == ".ok" && !fs::exists(copy(name)) && locks->try_exclusive(copier_number(name))) {
        remove_quietly(item.path());
        locks->release(copier_number(name));
      }
      if (ending != ".copy" && ending != ".tmp") continue;
      struct stat status {};
      if (::stat(item.path().c_str(), &status) != 0) continue;
      if (ending == ".tmp") {
        if (name != in_the_making && locks->try_exclusive(copier_number(name))) {
          remove_quietly(item.path());
          locks->release(copier_number(name));
          continue;
        }
      } else {
        by_use.emplace_back(nanoseconds(status.st_atim), name);
      }
      bytes += static_cast<std::uint64_t>(status.st_size);
    }
    std::sort(by_use.begin(), by_use.end());
    return bytes;
  }

  // Takes so much of the limit, as the size of the temporary file. False when there is no room now.
  bool make_room(std::uint64_t size, int descriptor) {
    if (Clock::now() < no_room_until) return false;
    while (!locks->try_exclusive(kSpace)) {
      if (stopping) throw Interrupted{};
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    struct Unlock {
      runtime::RangeLocks& locks;
      ~Unlock() { locks.release(kSpace); }
    } const unlock{*locks};
    std::vector<std::pair<std::int64_t, std::string>> by_use;
    std::uint64_t bytes = bytes_in_folder(by_use);
    for (const auto& [used, name] : by_use) {
      if (bytes + size <= limit) break;
      struct stat status {};
      if (::stat(copy(name).c_str(), &status) != 0) continue;
      const std::lock_guard lock(mutex);
      if (!remove_unused(name)) continue;
      bytes -= static_cast<std::uint64_t>(status.st_size);
      ++counts.removed;
    }
    if (bytes + size > limit) {
      no_room_until = Clock::now() + kNoRoom;
      return false;
    }
    if (::fallocate(descriptor, 0, 0, static_cast<off_t>(size)) != 0) {
      if (errno != EOPNOTSUPP) runtime::throw_system_error(fmt::format("cannot write to {}", folder.native()), errno);
      if (::ftruncate(descriptor, static_cast<off_t>(size)) != 0)
        runtime::throw_system_error(fmt::format("cannot write to {}", folder.native()), errno);
    }
    return true;
  }

  // The hash of what was copied.
  runtime::ContentHash transfer(const runtime::InputFile& from, int to, const fs::path& target) const {
    runtime::ContentHasher hasher;
    std::vector<std::byte> block;
    for (std::uint64_t at = 0; at < from.size(); at += block.size()) {
      if (stopping) throw Interrupted{};
      block.resize(std::min(kBlock, from.size() - at));
      try {
        from.read_at(at, block);
      } catch (const runtime::Error&) {
        throw SharedFileFailed{};
      }
      hasher.add(block);
      runtime::failure_point("staging.write", target.native());
      for (std::size_t done = 0; done < block.size();) {
        const ssize_t written = ::pwrite(to, block.data() + done, block.size() - done, static_cast<off_t>(at + done));
        if (written < 0) runtime::throw_system_error(fmt::format("cannot write {}", target.native()), errno);
        done += static_cast<std::size_t>(written);
      }
    }
    return hasher.hash();
  }

  runtime::ContentHash hash_of(const fs::path& path) const {
    const runtime::InputFile file(path);
    runtime::ContentHasher hasher;
    std::vector<std::byte> block;
    for (std::uint64_t at = 0; at < file.size(); at += block.size()) {
      if (stopping) throw Interrupted{};
      block.resize(std::min(kBlock, file.size() - at));
      file.read_at(at, block);
      hasher.add(block);
    }
    return hasher.hash();
  }

  // A copy that is there without a voucher that fits: of an earlier boot, or damaged.
  bool is_whole(const std::string& name, const File& file) const {
    if (!look(name, file)) return false;
    const auto found = read_voucher(voucher(name));
    if (!file.hash && !found) return false;
    const std::string hash = hash_of(copy(name)).hex();
    if (hash != (file.hash ? file.hash->hex() : found->hash)) return false;
    vouch(name, file, hash);
    return true;
  }

  // REQUIRES: the copier's lock of the file is held
  Outcome make(const Request& request) {
    const std::string& name = request.name;
    const File& file = request.file;
    std::error_code ignored;
    if (is_vouched_for(name, file) || is_whole(name, file)) {
      const std::lock_guard lock(mutex);
      ++counts.found;
      return Outcome::kThere;
    }
    if (fs::exists(copy(name), ignored)) {
      const std::lock_guard lock(mutex);
      ++counts.damaged;
      if (!remove_unused(name)) return Outcome::kLater;
    }
    std::optional<runtime::InputFile> from;
    try {
      from.emplace(file.path);
    } catch (const runtime::Error&) {
      throw SharedFileFailed{};
    }
    if (from->size() != file.size || file.size > limit) return Outcome::kNever;
    in_the_making = name;
    struct Remove {
      const fs::path& path;
      ~Remove() { remove_quietly(path); }
    };
    const fs::path target = temporary(name);
    const Remove remove{target};
    runtime::ContentHash hash;
    {
      const Descriptor to(target, O_RDWR | O_CREAT | O_TRUNC);
      if (!make_room(file.size, to.get())) return Outcome::kNoRoom;
      hash = transfer(*from, to.get(), target);
    }
    if (file.hash && hash != *file.hash) return Outcome::kNever;  // the original is damaged, which its readers find
    if (::rename(target.c_str(), copy(name).c_str()) != 0)
      runtime::throw_system_error(fmt::format("cannot rename {}", target.native()), errno);
    vouch(name, file, hash.hex());
    const std::lock_guard lock(mutex);
    ++counts.copied;
    counts.copied_bytes += file.size;
    return Outcome::kThere;
  }

  // One try. Errors of the local disk end the copying, those of the shared one are for readers to meet.
  Outcome attempt(const Request& request) {
    if (!locks->try_exclusive(copier_number(request.name)))
      return is_vouched_for(request.name, request.file) ? Outcome::kThere : Outcome::kLater;
    Outcome outcome = Outcome::kNever;
    try {
      outcome = make(request);
    } catch (const SharedFileFailed&) {
      outcome = Outcome::kNever;
    } catch (const std::exception& error) {
      turn_off(error);
    } catch (const Interrupted&) {
      outcome = Outcome::kLater;
    }
    in_the_making.clear();
    locks->release(copier_number(request.name));
    return outcome;
  }

  void work() {
    std::unique_lock lock(mutex);
    for (;;) {
      is_busy = false;
      changed.notify_all();
      changed.wait(lock, [this] { return stopping || !requests.empty(); });
      if (stopping) return;
      const auto next = std::min_element(requests.begin(), requests.end(), [](const Request& a, const Request& b) {
        return a.not_before < b.not_before;
      });
      if (next->not_before > Clock::now()) {
        changed.wait_until(lock, next->not_before);
        continue;
      }
      is_busy = true;
      Request request = std::move(*next);
      requests.erase(next);
      if (counts.is_off) continue;
      under_way = &request;
      lock.unlock();
      const Outcome outcome = attempt(request);
      lock.lock();
      under_way = nullptr;
      if (outcome == Outcome::kNever) hopeless.insert(request.name);
      if (outcome == Outcome::kLater && !stopping) {
        request.not_before = Clock::now() + request.pause;
        request.pause = std::min<Clock::duration>(2 * request.pause, kLongestPause);
        request.is_tried = true;
        requests.push_back(std::move(request));
      } else if (outcome == Outcome::kThere) {
        lock.unlock();
        for (const auto& callback : request.callbacks) callback();
        lock.lock();
      }
    }
  }

  // REQUIRES: the mutex is held
  void ask_for(const File& file, const std::string& name, std::function<void()> when_copied) {
    if (counts.is_off || hopeless.contains(name)) return;
    Request* known = under_way != nullptr && under_way->name == name ? under_way : nullptr;
    for (Request& request : requests) {
      if (request.name == name) known = &request;
    }
    if (known != nullptr) {
      known->callbacks.push_back(std::move(when_copied));
      return;
    }
    requests.push_back({file, name, {std::move(when_copied)}, Clock::now()});
    if (!thread.joinable()) thread = std::thread([this] { work(); });
    changed.notify_all();
  }
};

Staging::Staging(std::filesystem::path folder, std::uint64_t bytes) : state_(std::make_shared<State>()) {
  state_->folder = std::move(folder);
  state_->limit = bytes;
  try {
    require_own_folder(state_->folder);
    state_->locks.emplace(state_->folder / "locks");
    if (state_->locks->try_exclusive(kSpace)) {
      std::vector<std::pair<std::int64_t, std::string>> unused;
      state_->bytes_in_folder(unused);
      state_->locks->release(kSpace);
    }
  } catch (const std::exception& error) {
    state_->turn_off(error);
    state_->locks.reset();
  }
}

Staging::~Staging() {
  state_->stopping = true;
  {
    const std::lock_guard lock(state_->mutex);
    state_->changed.notify_all();
  }
  if (state_->thread.joinable()) state_->thread.join();
  const Counts all = counts();
  if (all.reads > 0) {
    spdlog::info("{} of {} reads were from copies in {}: {} copied ({}), {} found there, {} removed for others",
                 all.hits, all.reads, state_->folder.native(), all.copied, runtime::format_bytes(all.copied_bytes),
                 all.found, all.removed);
  }
}

Staging::Place Staging::place_of(const File& file, std::function<void()> when_copied) {
  const std::string name = name_of(file);
  const std::lock_guard lock(state_->mutex);
  if (!state_->locks) return {file.path, nullptr};
  try {
    if (auto lease = state_->lease_of(name, file)) {
      const timespec times[2] = {{.tv_sec = 0, .tv_nsec = UTIME_NOW}, {.tv_sec = 0, .tv_nsec = UTIME_OMIT}};
      ::utimensat(AT_FDCWD, state_->copy(name).c_str(), times, 0);
      return {state_->copy(name), std::move(lease)};
    }
  } catch (const runtime::Error&) {
    return {file.path, nullptr};
  }
  state_->ask_for(file, name, std::move(when_copied));
  return {file.path, nullptr};
}

void Staging::distrust(const File& file) {
  const std::string name = name_of(file);
  const std::lock_guard lock(state_->mutex);
  ++state_->counts.damaged;
  remove_quietly(state_->voucher(name));
  // Those who read it now keep it, as files are kept that are open.
  remove_quietly(state_->copy(name));
}

void Staging::count_read(bool of_copy) noexcept {
  state_->reads.fetch_add(1, std::memory_order_relaxed);
  if (of_copy) state_->hits.fetch_add(1, std::memory_order_relaxed);
}

Staging::Counts Staging::counts() const {
  const std::lock_guard lock(state_->mutex);
  Counts all = state_->counts;
  all.reads = state_->reads;
  all.hits = state_->hits;
  return all;
}

void Staging::settle() {
  std::unique_lock lock(state_->mutex);
  state_->changed.wait(lock, [this] {
    return !state_->is_busy && std::all_of(state_->requests.begin(), state_->requests.end(),
                                           [](const State::Request& request) { return request.is_tried; });
  });
}

}  // namespace cskd::data

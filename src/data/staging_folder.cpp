#include "data/staging_folder.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <fstream>
#include <system_error>
#include <thread>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/error.h"
#include "runtime/input_file.h"

namespace cskd::data {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr std::uint64_t kSpace = 0;         // the number of the lock for making room
constexpr std::chrono::seconds kNoRoom{1};  // without a look for more of it

std::string boot_of_host() {
  std::ifstream file("/proc/sys/kernel/random/boot_id");
  std::string id;
  std::getline(file, id);
  return id.empty() ? "unknown" : id;
}

std::int64_t nanoseconds(const timespec& time) { return std::int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec; }

// The numbers of a file's locks: even ones are held by its readers, the odd ones after them by who copies it.
std::uint64_t reader_number(const std::string& name) { return (runtime::content_hash(name).prefix() >> 3U << 1U) + 2; }
std::uint64_t copier_number(const std::string& name) { return reader_number(name) + 1; }

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

// What is written beside a copy.
struct StagingFolder::Voucher {
  std::string hash;
  std::uint64_t size = 0;
  std::int64_t changed = 0;
  std::string boot;

  bool operator==(const Voucher&) const = default;
};

StagingFolder::StagingFolder(fs::path folder, std::uint64_t limit, const std::atomic<bool>& stopping)
    : folder_(std::move(folder)), limit_(limit), stopping_(stopping), boot_(boot_of_host()) {
  require_own_folder(folder_);
  locks_.emplace(folder_ / "locks");
  if (!locks_->try_exclusive(kSpace)) return;
  std::vector<std::pair<std::int64_t, std::string>> unused;
  bytes(unused);
  locks_->release(kSpace);
}

std::string StagingFolder::name_of(const Staging::File& file) {
  if (file.hash) return file.hash->hex();
  struct stat status {};
  runtime::ContentHasher hasher;
  hasher.add_field(fs::absolute(file.path).lexically_normal().native());
  hasher.add_field(file.size);
  hasher.add_field(::stat(file.path.c_str(), &status) == 0 ? static_cast<std::uint64_t>(nanoseconds(status.st_mtim))
                                                           : 0);
  return hasher.hash().hex();
}

// What a voucher of the copy must say, but for the hash; nothing when there is no copy of that size.
std::optional<StagingFolder::Voucher> StagingFolder::look(const std::string& name, const Staging::File& file) const {
  struct stat status {};
  if (::stat(copy(name).c_str(), &status) != 0 || static_cast<std::uint64_t>(status.st_size) != file.size)
    return std::nullopt;
  return Voucher{.hash = file.hash ? file.hash->hex() : "",
                 .size = file.size,
                 .changed = nanoseconds(status.st_mtim),
                 .boot = boot_};
}

std::optional<StagingFolder::Voucher> StagingFolder::read_voucher(const fs::path& path) {
  std::ifstream file(path);
  Voucher voucher;
  if (file >> voucher.hash >> voucher.size >> voucher.changed >> voucher.boot) return voucher;
  return std::nullopt;
}

bool StagingFolder::is_vouched_for(const std::string& name, const Staging::File& file) const {
  auto expected = look(name, file);
  const auto found = read_voucher(voucher(name));
  if (!expected || !found) return false;
  if (!file.hash) expected->hash = found->hash;
  return *found == *expected;
}

void StagingFolder::vouch(const std::string& name, const Staging::File& file, const std::string& hash) const {
  const auto found = look(name, file);
  if (!found) return;
  std::ofstream stream(voucher(name));
  stream << fmt::format("{} {} {} {}\n", hash, found->size, found->changed, found->boot);
  if (!stream.flush()) throw runtime::Error(fmt::format("cannot write {}", voucher(name).native()));
}

std::shared_ptr<const void> StagingFolder::lease(const std::string& name, const Staging::File& file) {
  const std::lock_guard lock(mutex_);
  const auto known = leased_.find(name);
  if (known == leased_.end() && !locks_->try_shared(reader_number(name))) return nullptr;  // it is being removed
  if (!is_vouched_for(name, file)) {
    if (known == leased_.end()) locks_->release(reader_number(name));
    return nullptr;
  }
  ++leased_[name];
  return {static_cast<const void*>(this), [self = shared_from_this(), name](const void*) {
            const std::lock_guard end(self->mutex_);
            if (--self->leased_.at(name) > 0) return;
            self->leased_.erase(name);
            self->locks_->release(reader_number(name));
          }};
}

void StagingFolder::remove(const std::string& name) {
  const std::lock_guard lock(mutex_);
  remove_quietly(voucher(name));
  remove_quietly(copy(name));
}

bool StagingFolder::remove_unused(const std::string& name) {
  const std::lock_guard lock(mutex_);
  if (leased_.contains(name) || !locks_->try_exclusive(reader_number(name))) return false;
  remove_quietly(voucher(name));
  remove_quietly(copy(name));
  locks_->release(reader_number(name));
  return true;
}

bool StagingFolder::start_copying(const std::string& name) {
  if (!locks_->try_exclusive(copier_number(name))) return false;
  in_the_making_ = name;
  return true;
}

void StagingFolder::end_copying(const std::string& name) {
  remove_quietly(temporary(name));
  in_the_making_.clear();
  locks_->release(copier_number(name));
}

// Bytes of all copies, also of those in the making; what is left of killed ones goes.
std::uint64_t StagingFolder::bytes(std::vector<std::pair<std::int64_t, std::string>>& by_use) {
  std::uint64_t bytes = 0;
  for (const auto& item : fs::directory_iterator(folder_)) {
    const std::string ending = item.path().extension().native();
    const std::string name = item.path().stem().native();
    const bool is_own = name == in_the_making_;
    if (ending == ".ok" && !fs::exists(copy(name)) && !is_own && locks_->try_exclusive(copier_number(name))) {
      remove_quietly(item.path());
      locks_->release(copier_number(name));
    }
    if (ending != ".copy" && ending != ".tmp") continue;
    struct stat status {};
    if (::stat(item.path().c_str(), &status) != 0) continue;
    if (ending == ".tmp") {
      if (!is_own && locks_->try_exclusive(copier_number(name))) {
        remove_quietly(item.path());
        locks_->release(copier_number(name));
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

bool StagingFolder::make_room(std::uint64_t size, int descriptor, std::uint64_t& removed) {
  if (Clock::now() < no_room_until_) return false;
  while (!locks_->try_exclusive(kSpace)) {
    if (stopping_) throw StagingInterrupted{};
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  struct Unlock {
    runtime::RangeLocks& locks;
    ~Unlock() { locks.release(kSpace); }
  } const unlock{*locks_};
  std::vector<std::pair<std::int64_t, std::string>> by_use;
  std::uint64_t total = bytes(by_use);
  for (const auto& [used, name] : by_use) {
    if (total + size <= limit_) break;
    struct stat status {};
    if (::stat(copy(name).c_str(), &status) != 0 || !remove_unused(name)) continue;
    total -= static_cast<std::uint64_t>(status.st_size);
    ++removed;
  }
  if (total + size > limit_) {
    no_room_until_ = Clock::now() + kNoRoom;
    return false;
  }
  if (::fallocate(descriptor, 0, 0, static_cast<off_t>(size)) != 0) {
    if (errno != EOPNOTSUPP) runtime::throw_system_error(fmt::format("cannot write to {}", folder_.native()), errno);
    if (::ftruncate(descriptor, static_cast<off_t>(size)) != 0)
      runtime::throw_system_error(fmt::format("cannot write to {}", folder_.native()), errno);
  }
  return true;
}

runtime::ContentHash StagingFolder::hash_of(const fs::path& path) const {
  const runtime::InputFile file(path);
  runtime::ContentHasher hasher;
  std::vector<std::byte> block;
  for (std::uint64_t at = 0; at < file.size(); at += block.size()) {
    if (stopping_) throw StagingInterrupted{};
    block.resize(std::min(kStagingBlock, file.size() - at));
    file.read_at(at, block);
    hasher.add(block);
  }
  return hasher.hash();
}

bool StagingFolder::is_whole(const std::string& name, const Staging::File& file) const {
  if (!look(name, file)) return false;
  const auto found = read_voucher(voucher(name));
  if (!file.hash && !found) return false;
  const std::string hash = hash_of(copy(name)).hex();
  if (hash != (file.hash ? file.hash->hex() : found->hash)) return false;
  vouch(name, file, hash);
  return true;
}

}  // namespace cskd::data

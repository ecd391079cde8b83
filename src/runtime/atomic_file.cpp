#include "runtime/atomic_file.h"

#include <array>
#include <cerrno>
#include <cstdint>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "runtime/check.h"
#include "runtime/error.h"
#include "runtime/failure_point.h"

namespace cskd::runtime {
namespace {

struct XxhashDeleter {
  void operator()(XXH3_state_t* state) const { XXH3_freeState(state); }
};
using Xxhash = std::unique_ptr<XXH3_state_t, XxhashDeleter>;

Xxhash start_hash() {
  Xxhash hash(XXH3_createState());
  XXH3_64bits_reset(hash.get());
  return hash;
}

class FileDescriptor {
 public:
  FileDescriptor() = default;
  explicit FileDescriptor(int number) : number_(number) {}
  ~FileDescriptor() {
    if (number_ >= 0) ::close(number_);
  }
  FileDescriptor(const FileDescriptor&) = delete;
  FileDescriptor& operator=(const FileDescriptor&) = delete;
  FileDescriptor(FileDescriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  FileDescriptor& operator=(FileDescriptor&& other) noexcept {
    std::swap(number_, other.number_);
    return *this;
  }
  int get() const { return number_; }
  int release() { return std::exchange(number_, -1); }

 private:
  int number_ = -1;
};

FileDescriptor open_or_throw(const std::filesystem::path& path, int flags, std::string_view verb) {
  FileDescriptor file(::open(path.c_str(), flags | O_CLOEXEC, 0666));
  if (file.get() < 0) throw_system_error(fmt::format("cannot {} {}", verb, path.native()), errno);
  return file;
}

}  // namespace

struct AtomicFile::State {
  std::filesystem::path path;
  std::filesystem::path temporary;
  FileDescriptor file;
  Xxhash hash = start_hash();
  std::uint64_t size = 0;
  bool renamed = false;

  void verify() const;
};

AtomicFile::AtomicFile(std::filesystem::path path) : state_(std::make_unique<State>()) {
  state_->temporary = path;
  state_->temporary += ".tmp";
  state_->path = std::move(path);
  failure_point("atomic_file.open", state_->temporary.native());
  state_->file = open_or_throw(state_->temporary, O_WRONLY | O_CREAT | O_TRUNC, "create");
}

AtomicFile::~AtomicFile() {
  if (!state_->renamed) ::unlink(state_->temporary.c_str());
}

void AtomicFile::write(std::span<const std::byte> bytes) {
  CSKD_CHECK(state_->file.get() >= 0, "{} was written after commit", state_->path.native());
  XXH3_64bits_update(state_->hash.get(), bytes.data(), bytes.size());
  while (!bytes.empty()) {
    failure_point("atomic_file.write", state_->temporary.native());
    const ssize_t written = ::write(state_->file.get(), bytes.data(), bytes.size());
    if (written < 0) {
      if (errno == EINTR) continue;
      throw_system_error(fmt::format("cannot write {} bytes to {} after the first {}", bytes.size(),
                                     state_->temporary.native(), state_->size),
                         errno);
    }
    state_->size += static_cast<std::uint64_t>(written);
    bytes = bytes.subspan(static_cast<size_t>(written));
  }
}

void AtomicFile::State::verify() const {
  failure_point("atomic_file.verify", temporary.native());
  const FileDescriptor reader = open_or_throw(temporary, O_RDONLY, "reopen");
  const Xxhash reread = start_hash();
  std::array<std::byte, 1 << 16> buffer;
  std::uint64_t total = 0;
  for (;;) {
    const ssize_t count = ::read(reader.get(), buffer.data(), buffer.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) throw_system_error(fmt::format("cannot read back {}", temporary.native()), errno);
    if (count == 0) break;
    XXH3_64bits_update(reread.get(), buffer.data(), static_cast<size_t>(count));
    total += static_cast<std::uint64_t>(count);
  }
  const std::uint64_t expected = XXH3_64bits_digest(hash.get());
  const std::uint64_t found = XXH3_64bits_digest(reread.get());
  if (total != size || found != expected) {
    throw Error(
        fmt::format("{} read back as {} bytes with XXH3 {:016x}, but {} bytes with {:016x} were written; the disk "
                    "or file system loses data",
                    temporary.native(), total, found, size, expected));
  }
}

void AtomicFile::commit() {
  State& state = *state_;
  CSKD_CHECK(state.file.get() >= 0, "{} was committed twice", state.path.native());
  failure_point("atomic_file.fsync", state.temporary.native());
  if (::fsync(state.file.get()) != 0)
    throw_system_error(fmt::format("cannot fsync {}", state.temporary.native()), errno);
  if (::close(state.file.release()) != 0) {
    throw_system_error(fmt::format("cannot close {}", state.temporary.native()), errno);
  }
  state.verify();
  failure_point("atomic_file.rename", state.path.native());
  if (::rename(state.temporary.c_str(), state.path.c_str()) != 0) {
    throw_system_error(fmt::format("cannot rename {} to {}", state.temporary.native(), state.path.native()), errno);
  }
  state.renamed = true;
  failure_point("atomic_file.fsync_folder", state.path.native());
  sync_folder(state.path.parent_path());
}

void write_file_atomically(const std::filesystem::path& path, std::string_view contents) {
  AtomicFile file(path);
  file.write(contents);
  file.commit();
}

void publish_file(const std::filesystem::path& temporary, const std::filesystem::path& path) {
  failure_point("atomic_file.fsync", temporary.native());
  {
    const FileDescriptor file = open_or_throw(temporary, O_RDONLY, "reopen");
    if (::fsync(file.get()) != 0) throw_system_error(fmt::format("cannot fsync {}", temporary.native()), errno);
  }
  failure_point("atomic_file.rename", path.native());
  if (::rename(temporary.c_str(), path.c_str()) != 0) {
    throw_system_error(fmt::format("cannot rename {} to {}", temporary.native(), path.native()), errno);
  }
  failure_point("atomic_file.fsync_folder", path.native());
  sync_folder(path.parent_path());
}

void remove_temporary_files(const std::filesystem::path& folder) {
  for (const auto& item : std::filesystem::directory_iterator(folder)) {
    if (item.path().extension() == ".tmp") std::filesystem::remove(item.path());
  }
}

void sync_folder(const std::filesystem::path& folder) {
  const std::filesystem::path target = folder.empty() ? "." : folder;
  const FileDescriptor handle = open_or_throw(target, O_RDONLY | O_DIRECTORY, "open folder");
  // Some network file systems refuse fsync on a folder; there a rename is durable by itself.
  if (::fsync(handle.get()) != 0 && errno != EINVAL && errno != EROFS) {
    throw_system_error(fmt::format("cannot fsync folder {}", target.native()), errno);
  }
}

}  // namespace cskd::runtime

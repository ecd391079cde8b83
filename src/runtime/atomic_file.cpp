#include "runtime/atomic_file.h"

#include <cerrno>
#include <cstdint>
#include <system_error>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/check.h"
#include "runtime/error.h"
#include "runtime/failure_point.h"
#include "runtime/shared_files.h"

namespace cskd::runtime {
namespace {

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
  ContentHasher hash;
  std::uint64_t size = 0;
  bool renamed = false;

  FileFacts verify() const;
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
  state_->hash.add(bytes);
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

FileFacts AtomicFile::State::verify() const {
  failure_point("atomic_file.verify", temporary.native());
  const FileDescriptor reader = open_or_throw(temporary, O_RDONLY, "reopen");
  ContentHasher reread;
  std::vector<std::byte> buffer(1 << 18);
  FileFacts found;
  for (;;) {
    const ssize_t count = ::read(reader.get(), buffer.data(), buffer.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) throw_system_error(fmt::format("cannot read back {}", temporary.native()), errno);
    if (count == 0) break;
    reread.add(std::span(buffer).first(static_cast<size_t>(count)));
    found.size += static_cast<std::uint64_t>(count);
  }
  found.hash = reread.hash();
  const FileFacts written{size, hash.hash()};
  if (found != written) {
    throw Error(
        fmt::format("{} read back as {} bytes with XXH3 {}, but {} bytes with {} were written; the disk or file system "
                    "loses data",
                    temporary.native(), found.size, found.hash.hex(), written.size, written.hash.hex()));
  }
  return written;
}

FileFacts AtomicFile::commit() {
  State& state = *state_;
  CSKD_CHECK(state.file.get() >= 0, "{} was committed twice", state.path.native());
  failure_point("atomic_file.fsync", state.temporary.native());
  if (::fsync(state.file.get()) != 0)
    throw_system_error(fmt::format("cannot fsync {}", state.temporary.native()), errno);
  if (::close(state.file.release()) != 0) {
    throw_system_error(fmt::format("cannot close {}", state.temporary.native()), errno);
  }
  const FileFacts facts = state.verify();
  failure_point("atomic_file.rename", state.path.native());
  if (::rename(state.temporary.c_str(), state.path.c_str()) != 0) {
    throw_system_error(fmt::format("cannot rename {} to {}", state.temporary.native(), state.path.native()), errno);
  }
  state.renamed = true;
  failure_point("atomic_file.fsync_folder", state.path.native());
  sync_folder(state.path.parent_path());
  return facts;
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
    if (item.path().extension() == ".tmp") remove_leftover(item.path(), "the temporary file");
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

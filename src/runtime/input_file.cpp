#include "runtime/input_file.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/error.h"

namespace cskd::runtime {

InputFile::InputFile(std::filesystem::path path) : path_(std::move(path)) {
  // A named pipe would wait for a writer: it is opened without waiting, and then refused.
  descriptor_ = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor_ < 0) throw_system_error(fmt::format("cannot open {}", path_.native()), errno);
  struct stat status {};
  if (::fstat(descriptor_, &status) != 0) {
    const int error = errno;
    ::close(descriptor_);
    throw_system_error(fmt::format("cannot examine {}", path_.native()), error);
  }
  if (!S_ISREG(status.st_mode)) {
    ::close(descriptor_);
    throw Error(fmt::format("{} is not a regular file", path_.native()));
  }
  size_ = static_cast<std::uint64_t>(status.st_size);
}

InputFile::~InputFile() { ::close(descriptor_); }

void InputFile::check_range(std::uint64_t offset, std::uint64_t length) const {
  if (offset > size_ || length > size_ - offset) {
    throw DataError(
        fmt::format("{} has {} bytes, but {} bytes from byte {} are needed: it was cut off or is another file",
                    path_.native(), size_, length, offset));
  }
}

void InputFile::read_at(std::uint64_t offset, std::span<std::byte> target) const {
  check_range(offset, target.size());
  while (!target.empty()) {
    const ssize_t count = ::pread(descriptor_, target.data(), target.size(), static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) throw_system_error(fmt::format("cannot read {}", path_.native()), errno);
    if (count == 0) throw DataError(fmt::format("{} became shorter while it was read", path_.native()));
    target = target.subspan(static_cast<size_t>(count));
    offset += static_cast<std::uint64_t>(count);
  }
}

std::vector<std::byte> InputFile::read_at(std::uint64_t offset, std::uint64_t length) const {
  check_range(offset, length);
  std::vector<std::byte> bytes(length);
  read_at(offset, bytes);
  return bytes;
}

void InputFile::will_read(std::uint64_t offset, std::uint64_t length) const noexcept {
  // A hint: where it is refused, read_at() waits instead.
  static_cast<void>(
      ::posix_fadvise(descriptor_, static_cast<off_t>(offset), static_cast<off_t>(length), POSIX_FADV_WILLNEED));
}

void add_contents(const InputFile& file, ContentHasher& hasher) {
  constexpr std::uint64_t kBlock = 8ULL << 20;
  std::vector<std::byte> block;
  for (std::uint64_t at = 0; at < file.size(); at += block.size()) {
    block.resize(std::min(kBlock, file.size() - at));
    file.read_at(at, block);
    hasher.add(block);
  }
}

ContentHash content_hash(const InputFile& file) {
  ContentHasher hasher;
  add_contents(file, hasher);
  return hasher.hash();
}

std::string read_text_file(const std::filesystem::path& path, std::uint64_t limit) {
  const InputFile file(path);
  if (file.size() > limit) {
    throw DataError(fmt::format("{} has {} bytes, at most {} are read", path.native(), file.size(), limit));
  }
  std::string text(file.size(), '\0');
  file.read_at(0, std::as_writable_bytes(std::span(text)));
  return text;
}

}  // namespace cskd::runtime

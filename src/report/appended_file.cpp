#include "report/appended_file.h"

#include <cerrno>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/error.h"
#include "runtime/failure_point.h"

namespace cskd::report {
namespace {

void create_folder(const std::filesystem::path& folder) {
  if (folder.empty()) return;  // the working folder
  std::error_code failure;
  std::filesystem::create_directories(folder, failure);
  if (failure) {
    runtime::throw_system_error(fmt::format("cannot create the folder {}", folder.native()), failure.value());
  }
}

std::uint64_t size_of(int descriptor, const std::filesystem::path& path) {
  struct stat status {};
  if (::fstat(descriptor, &status) != 0)
    runtime::throw_system_error(fmt::format("cannot find the size of {}", path.native()), errno);
  return static_cast<std::uint64_t>(status.st_size);
}

}  // namespace

AppendedFile::AppendedFile(std::filesystem::path path, std::string place)
    : path_(std::move(path)), place_(std::move(place)) {
  create_folder(path_.parent_path());
  descriptor_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (descriptor_ < 0) runtime::throw_system_error(fmt::format("cannot open {} to append", path_.native()), errno);
  try {
    size_ = size_of(descriptor_, path_);
  } catch (...) {
    ::close(descriptor_);
    throw;
  }
}

AppendedFile::~AppendedFile() { ::close(descriptor_); }

void AppendedFile::append(std::string_view piece) {
  if (std::exchange(has_failed_, true)) open_again();
  if (is_torn_ && !cut()) {
    throw runtime::Error(fmt::format("{} ends in a part of a piece, which cannot be cut off", path_.native()));
  }
  runtime::failure_point(place_, path_.native());
  std::string_view rest = piece;
  // A disk that fills up takes a part of the piece first; only the next write(2) tells why it stopped.
  while (!rest.empty()) {
    const ssize_t written = ::write(descriptor_, rest.data(), rest.size());
    if (written < 0) {
      if (errno == EINTR) continue;
      const int failure = errno;
      is_torn_ = rest.size() < piece.size();
      const bool is_whole = !is_torn_ || cut();
      runtime::throw_system_error(fmt::format("cannot append {} bytes to {}{}", piece.size(), path_.native(),
                                              is_whole ? "" : ", which now ends in a part of them"),
                                  failure);
    }
    rest.remove_prefix(static_cast<size_t>(written));
  }
  size_ += piece.size();
  has_failed_ = false;
}

void AppendedFile::open_again() {
  const int descriptor = ::open(path_.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC);
  if (descriptor < 0) runtime::throw_system_error(fmt::format("cannot open {} again", path_.native()), errno);
  ::close(std::exchange(descriptor_, descriptor));
  const std::uint64_t size = size_of(descriptor_, path_);
  if (size < size_) {
    throw runtime::Error(
        fmt::format("{} has {} bytes, fewer than the {} that were written to it", path_.native(), size, size_));
  }
  is_torn_ = size > size_;
}

bool AppendedFile::cut() noexcept {
  try {
    runtime::failure_point("appended_file.cut", path_.native());
  } catch (const runtime::Error&) {
    return false;
  }
  is_torn_ = ::ftruncate(descriptor_, static_cast<off_t>(size_)) != 0;
  return !is_torn_;
}

}  // namespace cskd::report

// A file for reading, or a copy of it that may be damaged, with the file itself to go back to.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <mutex>
#include <optional>
#include <span>
#include <utility>

#include "runtime/error.h"
#include "runtime/input_file.h"

namespace cskd::shards {

// Where to read a file.
struct FilePlace {
  std::filesystem::path path;  // of the file
  std::filesystem::path copy;  // of its copy; empty: the file itself is read
  // Told when the copy is found to be damaged, on the thread that reads.
  std::function<void()> distrust;

  FilePlace(std::filesystem::path file) : path(std::move(file)) {}  // NOLINT(google-explicit-constructor)
  FilePlace(std::filesystem::path file, std::filesystem::path its_copy, std::function<void()> when_damaged)
      : path(std::move(file)), copy(std::move(its_copy)), distrust(std::move(when_damaged)) {}
  const std::filesystem::path& read_path() const { return copy.empty() ? path : copy; }
};

class CopiedFile {
 public:
  // Opens the copy, or else the file. Throws Error.
  explicit CopiedFile(FilePlace place) : place_(std::move(place)), file_(place_.read_path()) {}

  const std::filesystem::path& path() const noexcept { return place_.path; }
  bool is_copy() const noexcept { return !place_.copy.empty(); }
  // What was opened.
  const runtime::InputFile& opened() const noexcept { return file_; }

  // Fills `target` from `offset`. When is_whole(target) says no of what the copy gives, or the copy cannot be read, the
  // file is read. Whether what was read last is whole. Any thread. Throws as InputFile.
  template <typename IsWhole>
  bool read_at(std::uint64_t offset, std::span<std::byte> target, const IsWhole& is_whole) const {
    if (!is_copy()) {
      file_.read_at(offset, target);
      return is_whole();
    }
    try {
      file_.read_at(offset, target);
      if (is_whole()) return true;
    } catch (const runtime::Error&) {
      // The file itself will do, or say what is wrong.
    }
    if (place_.distrust) place_.distrust();
    original().read_at(offset, target);
    return is_whole();
  }

 private:
  const runtime::InputFile& original() const {
    const std::lock_guard lock(mutex_);
    if (!original_) original_.emplace(place_.path);
    return *original_;
  }

  FilePlace place_;
  runtime::InputFile file_;
  mutable std::mutex mutex_;
  mutable std::optional<runtime::InputFile> original_;
};

}  // namespace cskd::shards

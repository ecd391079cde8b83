// A file opened for reading at any offset by any thread (pread).
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "runtime/content_hash.h"

namespace cskd::runtime {

class InputFile {
 public:
  // Throws Error when it cannot be opened or is no regular file.
  explicit InputFile(std::filesystem::path path);
  ~InputFile();
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;

  std::uint64_t size() const noexcept { return size_; }  // when it was opened
  const std::filesystem::path& path() const noexcept { return path_; }

  // Fills `target` from `offset`. Throws DataError when the file ends before, Error when it cannot be read.
  void read_at(std::uint64_t offset, std::span<std::byte> target) const;
  std::vector<std::byte> read_at(std::uint64_t offset, std::uint64_t length) const;
  // These bytes will be read soon: the system may begin to fetch them.
  void will_read(std::uint64_t offset, std::uint64_t length) const noexcept;

  // `count` numbers of a fixed-size type.
  template <typename Number>
  std::vector<Number> read_numbers(std::uint64_t offset, std::uint64_t count) const {
    check_range(offset, count * sizeof(Number));
    std::vector<Number> numbers(count);
    read_at(offset, std::as_writable_bytes(std::span(numbers)));
    return numbers;
  }

 private:
  void check_range(std::uint64_t offset, std::uint64_t length) const;

  std::filesystem::path path_;
  int descriptor_ = -1;
  std::uint64_t size_ = 0;
};

// Adds all bytes of the file to the hasher, in order; the hash of them alone. Throw as read_at().
void add_contents(const InputFile& file, ContentHasher& hasher);
ContentHash content_hash(const InputFile& file);

// The whole of a file of at most `limit` bytes. Throws DataError when it is larger, Error when it cannot be read.
std::string read_text_file(const std::filesystem::path& path, std::uint64_t limit);

}  // namespace cskd::runtime

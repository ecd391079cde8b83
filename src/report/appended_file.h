// A file that grows by whole pieces: a line of text, a record.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace cskd::report {

// Each piece goes out with one write(2) at the end of the file, so a killed process leaves whole pieces but possibly
// the last. One writer per file; not thread-safe.
class AppendedFile {
 public:
  // Opens `path`, or creates it and its folder. append() passes the failure point `place`. Throws Error.
  AppendedFile(std::filesystem::path path, std::string place);
  ~AppendedFile();
  AppendedFile(const AppendedFile&) = delete;
  AppendedFile& operator=(const AppendedFile&) = delete;

  // In the hands of the kernel on return. Throws Error, e.g. when the disk is full; the file is then as it was before.
  // Where even that fails (failure point appended_file.cut), the message says so, and the next call begins with it.
  // After a failure the next call opens the file anew: a network file system may have lost the open one (ESTALE).
  void append(std::string_view piece);

  const std::filesystem::path& path() const noexcept { return path_; }

 private:
  // Throws Error, also when the file is shorter than what was appended.
  void open_again();
  // Takes a part of a piece away again.
  bool cut() noexcept;

  std::filesystem::path path_;
  std::string place_;
  int descriptor_ = -1;
  std::uint64_t size_ = 0;   // of the whole pieces
  bool is_torn_ = false;     // a part of another is behind them
  bool has_failed_ = false;  // the last append()
};

}  // namespace cskd::report

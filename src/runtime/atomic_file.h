// Files that exist whole or not at all.
//
// Note [Atomic files]
// Bytes go to `<path>.tmp`. commit() then, in this order: fsync and close, reopen and compare size and XXH3-128
// with what was written, rename to `path`, fsync the folder. A process killed anywhere leaves the old file or the new
// one, and at most a `.tmp` that the next AtomicFile for the same path overwrites. One process writes a given path at a
// time.
// Failure points: atomic_file.{open,write,fsync,verify,rename,fsync_folder}.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string_view>

#include "runtime/content_hash.h"

namespace cskd::runtime {

// Which bytes a file holds.
struct FileFacts {
  std::uint64_t size = 0;
  ContentHash hash;

  bool operator==(const FileFacts&) const = default;
};

class AtomicFile {
 public:
  // Opens `<path>.tmp`; its folder must exist. Throws Error.
  explicit AtomicFile(std::filesystem::path path);
  // Removes `<path>.tmp` unless committed.
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  // Throws Error, e.g. when the disk is full.
  void write(std::span<const std::byte> bytes);
  void write(std::string_view text) { write(std::as_bytes(std::span(text))); }

  // Makes the file visible under its path. Call once, last. Throws Error; before the rename the old file is then
  // untouched.
  FileFacts commit();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// AtomicFile, write, commit.
void write_file_atomically(const std::filesystem::path& path, std::string_view contents);

// For a file that a library wrote: fsyncs the closed `temporary`, renames it to `path`, and fsyncs the folder. The
// caller has verified it. Both lie in one folder. Failure points as in Note [Atomic files]. Throws Error.
void publish_file(const std::filesystem::path& temporary, const std::filesystem::path& path);

// Removes what killed writers left: the files `*.tmp` of the folder, without its subfolders. Nobody else writes there.
// What cannot be removed is logged. Throws std::filesystem::filesystem_error when the folder cannot be listed.
void remove_temporary_files(const std::filesystem::path& folder);

// fsync of a folder, so that a rename or a new name in it survives a power cut. Throws Error.
void sync_folder(const std::filesystem::path& folder);

}  // namespace cskd::runtime

// Files of records of one size, for working data that memory need not hold. They have no checksum and are not durable:
// they lie in a work folder and are made again after a crash.
#pragma once

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <ios>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "runtime/error.h"
#include "runtime/failure_point.h"
#include "runtime/input_file.h"
#include "runtime/shared_files.h"

namespace cskd::runtime {

constexpr std::uint64_t kRecordsAtOnce = 4096;

template <typename Record>
class RecordWriter {
  static_assert(std::is_trivially_copyable_v<Record>);

 public:
  // Replaces a file that is there. Throws Error.
  explicit RecordWriter(std::filesystem::path path) : path_(std::move(path)), file_(path_, std::ios::binary) {
    if (!file_) throw Error(fmt::format("cannot create {}", path_.native()));
  }

  void add(const Record& record) {
    block_.push_back(record);
    if (block_.size() == kRecordsAtOnce) flush();
  }

  // Throws Error when the disk is full.
  void close() {
    failure_point("record_file.write", path_.native());
    flush();
    file_.close();
    if (!file_) throw Error(fmt::format("cannot write {}: is the disk full?", path_.native()));
  }

 private:
  void flush() {
    file_.write(reinterpret_cast<const char*>(block_.data()),
                static_cast<std::streamsize>(block_.size() * sizeof(Record)));
    block_.clear();
  }

  std::filesystem::path path_;
  std::ofstream file_;
  std::vector<Record> block_;
};

// Threads may read at the same time.
template <typename Record>
class RecordFile {
  static_assert(std::is_trivially_copyable_v<Record>);

 public:
  // Of this or another rank. Throws Error.
  explicit RecordFile(const std::filesystem::path& path) : file_((wait_until_there(path), path)) {}

  std::uint64_t size() const noexcept { return file_.size() / sizeof(Record); }
  // Throws DataError beyond the end.
  void read(std::uint64_t first, std::span<Record> target) const {
    file_.read_at(first * sizeof(Record), std::as_writable_bytes(target));
  }
  Record at(std::uint64_t number) const {
    Record record;
    read(number, {&record, 1});
    return record;
  }
  const InputFile& file() const noexcept { return file_; }

 private:
  InputFile file_;
};

// The records of a file, which must outlive it, one after the other.
template <typename Record>
class RecordCursor {
 public:
  explicit RecordCursor(const RecordFile<Record>& file, std::uint64_t first = 0, std::uint64_t at_once = kRecordsAtOnce)
      : file_(&file), next_(first), at_once_(at_once) {
    fill();
  }

  // Null behind the last one; valid until advance().
  const Record* current() const { return place_ < block_.size() ? &block_[place_] : nullptr; }
  // REQUIRES: current() is not null
  void advance() {
    if (++place_ == block_.size()) fill();
  }

 private:
  void fill() {
    const std::uint64_t size = file_->size();
    block_.resize(std::min(at_once_, size - std::min(next_, size)));
    if (!block_.empty()) file_->read(next_, block_);
    next_ += block_.size();
    place_ = 0;
  }

  const RecordFile<Record>* file_;
  std::uint64_t next_;
  std::uint64_t at_once_;
  std::vector<Record> block_;
  std::size_t place_ = 0;
};

}  // namespace cskd::runtime

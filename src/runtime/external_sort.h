// Sorting more records than memory holds: parts that fit are sorted one by one, written to files, and merged when they
// are taken out (Knuth, "The Art of Computer Programming", volume 3, section 5.4.1).
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <memory>
#include <system_error>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "runtime/record_file.h"
#include "runtime/world.h"

namespace cskd::runtime {

// Calls take(record) for the records of all files, each of which is sorted, in one order. Equal records of different
// files come in no certain order. Holds about `memory` bytes. Throws Error.
template <typename Record, typename Less, typename Take>
void merge_sorted_files(const std::vector<std::filesystem::path>& files, std::uint64_t memory, const Less& less,
                        Take take) {
  const std::uint64_t share = memory / sizeof(Record) / (files.size() + 1);
  const std::uint64_t at_once = std::clamp<std::uint64_t>(share, 16, kRecordsAtOnce);
  std::deque<RecordFile<Record>> opened;  // cursors point at its elements
  std::vector<RecordCursor<Record>> cursors;
  for (const std::filesystem::path& path : files) {
    RecordCursor<Record> cursor(opened.emplace_back(path), 0, at_once);
    if (cursor.current() != nullptr) cursors.push_back(std::move(cursor));
  }
  const auto later = [&](const RecordCursor<Record>& a, const RecordCursor<Record>& b) {
    return less(*b.current(), *a.current());
  };
  std::make_heap(cursors.begin(), cursors.end(), later);
  while (!cursors.empty()) {
    std::pop_heap(cursors.begin(), cursors.end(), later);
    take(*cursors.back().current());
    cursors.back().advance();
    if (cursors.back().current() == nullptr) {
      cursors.pop_back();
    } else {
      std::push_heap(cursors.begin(), cursors.end(), later);
    }
  }
}

template <typename Record, typename Less>
class ExternalSorter {
 public:
  // Holds at most `memory` bytes of records; what is beyond goes to files <stem>-0, <stem>-1, ..., which go with it.
  ExternalSorter(std::filesystem::path stem, std::uint64_t memory, Less less = {})
      : stem_(std::move(stem)),
        memory_(memory),
        most_(std::max<std::uint64_t>(1, memory / (2 * sizeof(Record)))),  // a growing vector is there twice
        less_(std::move(less)) {}
  ~ExternalSorter() {
    for (const std::filesystem::path& file : files_) remove_leftover(file, "the sorted part");
  }
  ExternalSorter(const ExternalSorter&) = delete;
  ExternalSorter& operator=(const ExternalSorter&) = delete;

  // Throws Error when the disk is full.
  void add(const Record& record) {
    if (held_.size() == most_) write_held();
    held_.push_back(record);
  }

  // Calls take(record) for all records, sorted; then it is empty.
  template <typename Take>
  void take_all(Take take) {
    if (files_.empty()) {
      std::sort(held_.begin(), held_.end(), less_);
      for (const Record& record : held_) take(record);
    } else {
      write_held();
      held_ = {};
      merge_sorted_files<Record>(files_, memory_, less_, take);
    }
    held_.clear();
  }
  // Writes all records, sorted, to a file; then it is empty.
  void take_all_to(const std::filesystem::path& path) {
    RecordWriter<Record> writer(path);
    take_all([&](const Record& record) { writer.add(record); });
    writer.close();
  }
  // Collective: calls take(record) on rank 0 for all records of all ranks, sorted; then all are empty. Through files
  // <stem>-<rank> that all ranks see.
  template <typename Take>
  void take_all_of_ranks(World& world, const std::filesystem::path& stem, Take take) {
    std::vector<std::filesystem::path> parts;
    parts.reserve(static_cast<std::size_t>(world.size()));
    for (int rank = 0; rank < world.size(); ++rank) parts.emplace_back(fmt::format("{}-{}", stem.native(), rank));
    take_all_to(parts[static_cast<std::size_t>(world.rank())]);
    world.barrier();
    if (world.rank() != 0) return;
    merge_sorted_files<Record>(parts, memory_, less_, take);
    for (const std::filesystem::path& part : parts) remove_leftover(part, "the sorted part");
  }

 private:
  void write_held() {
    std::sort(held_.begin(), held_.end(), less_);
    std::filesystem::path path = stem_;
    path += fmt::format("-{}", files_.size());
    files_.push_back(path);
    RecordWriter<Record> writer(path);
    for (const Record& record : held_) writer.add(record);
    writer.close();
    held_.clear();
  }

  std::filesystem::path stem_;
  std::uint64_t memory_;
  std::size_t most_;
  Less less_;
  std::vector<Record> held_;
  std::vector<std::filesystem::path> files_;
};

}  // namespace cskd::runtime

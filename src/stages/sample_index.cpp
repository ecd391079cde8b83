#include "stages/sample_index.h"

#include <algorithm>
#include <cstddef>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "runtime/error.h"
#include "runtime/failure_point.h"

namespace cskd::stages {

std::uint64_t key_hash(std::string_view source_name, std::string_view key) {
  runtime::ContentHasher hasher;
  hasher.add_field(source_name);
  hasher.add_field(key);
  return hasher.hash().prefix();
}

SampleIndexWriter::SampleIndexWriter(std::filesystem::path path)
    : path_(std::move(path)), file_(path_, std::ios::binary) {
  if (!file_) throw runtime::Error(fmt::format("cannot create {}", path_.native()));
}

void SampleIndexWriter::add(const IndexRecord& record) {
  file_.write(reinterpret_cast<const char*>(&record), sizeof(record));
}

void SampleIndexWriter::close() {
  runtime::failure_point("sample_index.write", path_.native());
  file_.close();
  if (!file_) throw runtime::Error(fmt::format("cannot write {}: is the disk full?", path_.native()));
}

shards::Thumbnail SampleIndex::thumbnail(std::uint64_t number) const {
  shards::Thumbnail thumbnail;
  file_.read_at(number * sizeof(IndexRecord) + offsetof(IndexRecord, thumbnail),
                std::as_writable_bytes(std::span(thumbnail)));
  return thumbnail;
}

void SampleIndex::for_each(const std::function<void(std::uint64_t, const IndexRecord&)>& take) const {
  constexpr std::uint64_t kBlock = 4096;
  std::vector<IndexRecord> block;
  for (std::uint64_t first = 0; first < size(); first += block.size()) {
    block.resize(std::min(kBlock, size() - first));
    file_.read_at(first * sizeof(IndexRecord), std::as_writable_bytes(std::span(block)));
    for (std::uint64_t i = 0; i < block.size(); ++i) take(first + i, block[i]);
  }
}

}  // namespace cskd::stages

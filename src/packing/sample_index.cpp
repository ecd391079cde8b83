#include "packing/sample_index.h"

#include <algorithm>
#include <cstddef>

namespace cskd::packing {

std::uint64_t key_hash(std::string_view source_name, std::string_view key) {
  runtime::ContentHasher hasher;
  hasher.add_field(source_name);
  hasher.add_field(key);
  return hasher.hash().prefix();
}

SampleIndex::SampleIndex(const std::vector<std::filesystem::path>& files) {
  for (const std::filesystem::path& file : files) firsts_.push_back(firsts_.back() + files_.emplace_back(file).size());
}

SampleIndex::Place SampleIndex::place_of(std::uint64_t number) const {
  const auto next = std::upper_bound(firsts_.begin(), firsts_.end(), number);
  const auto file = static_cast<std::size_t>(next - firsts_.begin()) - 1;
  return {&files_[file], number - firsts_[file]};
}

IndexRecord SampleIndex::record(std::uint64_t number) const {
  const Place place = place_of(number);
  return place.file->at(place.number);
}

shards::Thumbnail SampleIndex::thumbnail(std::uint64_t number) const {
  const Place place = place_of(number);
  shards::Thumbnail thumbnail;
  place.file->file().read_at(place.number * sizeof(IndexRecord) + offsetof(IndexRecord, thumbnail),
                             std::as_writable_bytes(std::span(thumbnail)));
  return thumbnail;
}

void SampleIndex::for_each(const std::function<void(std::uint64_t, const IndexRecord&)>& take) const {
  std::uint64_t number = 0;
  for (const runtime::RecordFile<IndexRecord>& file : files_) {
    for (runtime::RecordCursor<IndexRecord> cursor(file); cursor.current() != nullptr; cursor.advance())
      take(number++, *cursor.current());
  }
}

}  // namespace cskd::packing

// Records of made-up pictures, for tests of what packing decides.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "packing/sample_index.h"
#include "runtime/record_file.h"

namespace cskd::tests {

struct MadePicture {
  std::string key;
  std::string pixels;  // equal text: equal pixels
  shards::Split split = shards::Split::kUnlabelled;
  std::uint64_t phash = 0;
  std::uint8_t level = 0;  // of every pixel of the thumbnail
  std::uint32_t source = 0;
  bool packed = false;
  bool faulty = false;
  std::uint64_t bytes = 100;
};

inline packing::IndexRecord record_of(const MadePicture& picture) {
  packing::IndexRecord record{.pixel_hash = runtime::content_hash(picture.pixels),
                              .phash = picture.phash,
                              .key_hash = packing::key_hash(std::to_string(picture.source), picture.key),
                              .stored_size = picture.bytes,
                              .source = picture.source,
                              .split = picture.split,
                              .packed = static_cast<std::uint8_t>(picture.packed ? 1 : 0),
                              .faulty = static_cast<std::uint8_t>(picture.faulty ? 1 : 0)};
  record.thumbnail.fill(picture.level);
  return record;
}

// An index file of them at `path`.
inline void write_index(const std::filesystem::path& path, const std::vector<MadePicture>& pictures) {
  runtime::RecordWriter<packing::IndexRecord> writer(path);
  for (const MadePicture& picture : pictures) writer.add(record_of(picture));
  writer.close();
}

template <typename Record>
std::vector<Record> records_of(const runtime::RecordFile<Record>& file) {
  std::vector<Record> records(file.size());
  file.read(0, records);
  return records;
}

}  // namespace cskd::tests

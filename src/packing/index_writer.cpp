#include "packing/index_writer.h"

#include <algorithm>
#include <vector>

#include <fmt/format.h>

#include "packing/packed_corpus.h"

namespace cskd::packing {
namespace {

constexpr std::size_t kMostParts = 64;  // every rank opens all of them

IndexRecord record_of(const shards::SurveyChunk::Picture& picture, const std::string& source_name, std::uint32_t source,
                      const ChunkPlace& place) {
  IndexRecord record{.key_hash = key_hash(source_name, picture.key()),
                     .stored_size = picture.stored_size(),
                     .place = place.offset,
                     .place_size = place.size,
                     .source = source,
                     .split = static_cast<shards::Split>(picture.split()),
                     .faulty = static_cast<std::uint8_t>(picture.fault().empty() ? 0 : 1)};
  if (record.faulty == 0) {
    record.pixel_hash = runtime::ContentHash::from_bytes(picture.pixel_hash());
    record.phash = picture.phash();
    std::copy(picture.thumbnail().begin(), picture.thumbnail().end(), record.thumbnail.begin());
  }
  return record;
}

}  // namespace

SampleIndex write_index(const PackingContext& context, const Survey& survey,
                        const std::optional<shards::Manifest>& packed, const std::filesystem::path& folder) {
  const std::vector<Chunk>& chunks = survey.chunks();
  const std::size_t parts = std::min(static_cast<std::size_t>(context.world.size()), kMostParts);
  std::vector<std::filesystem::path> files;
  for (std::size_t part = 0; part < parts; ++part) files.push_back(folder / fmt::format("index-{}", part));
  if (const auto part = static_cast<std::size_t>(context.world.rank()); part < parts) {
    runtime::RecordWriter<IndexRecord> writer(files[part]);
    if (part == 0 && packed) {
      for_each_packed_row(context.folder, *packed,
                          [&](const IndexRecord& record, const auto&, const auto&) { writer.add(record); });
    }
    for (std::size_t i = chunks.size() * part / parts; i < chunks.size() * (part + 1) / parts; ++i) {
      const shards::SurveyChunk pictures = survey.read(chunks[i]);
      const std::vector<ChunkPlace> places = Survey::places(pictures);
      const std::string& source_name = survey.sources()[chunks[i].source].name();
      for (std::size_t j = 0; j < places.size(); ++j)
        writer.add(record_of(pictures.pictures(static_cast<int>(j)), source_name, chunks[i].source, places[j]));
    }
    writer.close();
  }
  context.world.barrier();
  return SampleIndex(files);
}

}  // namespace cskd::packing

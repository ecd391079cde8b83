// The survey of every picture of the sources before packing decides: where it lies, whether it decodes, what it
// looks like.
//
// Note [Survey]
// A source is listed in its own order and cut into chunks where the hash of a key says so, 512 pictures on average: a
// picture that is added later moves no boundary but those beside it. A chunk that was checked is kept as
// `shards/survey/<source>/<digest>.chunk`, named by a digest of all that decides its contents (keys, places, sizes,
// modification times, labels, and how pictures are checked). So a killed job goes on with the chunks it has, and
// pictures that are added later are the only ones that are decoded. Pictures that were made smaller wait beside it in
// `<digest>.pictures` until a shard holds them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "config/source.pb.h"
#include "packing/packing_context.h"
#include "packing/source_list.h"
#include "shards/survey.pb.h"

namespace cskd::packing {

// Where a picture of a chunk lies in the chunk's file.
struct ChunkPlace {
  std::uint64_t offset = 0;
  std::uint32_t size = 0;
};

class Survey {
 public:
  // Lists and checks the sources. Collective. Throws DataError when a source is missing, empty or damaged, or when
  // ranks see different files; Error with exit code 75 when a signal asked to stop.
  Survey(const PackingContext& context, std::vector<config::Source> sources);
  // Removes the list of the sources. Whatever was checked is kept.
  ~Survey();
  Survey(const Survey&) = delete;
  Survey& operator=(const Survey&) = delete;

  const std::vector<config::Source>& sources() const noexcept { return sources_; }
  const std::vector<Chunk>& chunks() const noexcept { return list_->chunks(); }
  // For working files; it goes with the survey.
  const std::filesystem::path& work_folder() const noexcept { return work_folder_; }
  std::uint64_t samples() const noexcept { return list_->samples(); }
  // Files of a source that are no pictures by their names, and members of archives that are no files, by what they are
  // (".txt").
  const std::map<std::string, std::uint64_t>& passed_over(std::size_t source) const {
    return list_->passed_over(source);
  }
  // Lines of passed_over.jsonl. Throws Error.
  void for_each_passed_over(const std::function<void(std::string_view line)>& take) const {
    list_->for_each_passed_over(take);
  }

  // The chunk that holds the survey's picture `number`, from 0 on. REQUIRES: number < samples()
  const Chunk& chunk_of(std::uint64_t number) const;

  // Throws Error or DataError when the chunk's file was damaged meanwhile.
  shards::SurveyChunk read(const Chunk& chunk) const;
  // Places of the pictures of a chunk that was read.
  static std::vector<ChunkPlace> places(const shards::SurveyChunk& chunk);
  // The pictures at some of those places. Throws Error or DataError when they no longer exist.
  std::vector<shards::SurveyChunk::Picture> read_pictures(const Chunk& chunk, std::span<const ChunkPlace> places) const;
  // Reads the bytes that a shard stores of a picture, picture.stored_size() of them. Throws Error or DataError.
  void read_stored(const Chunk& chunk, const shards::SurveyChunk::Picture& picture, std::span<std::byte> target) const;

  // Removes files of chunks that no source has any more, and all pictures that were made smaller. One rank calls.
  void forget_the_rest() const;

 private:
  std::filesystem::path path(const Chunk& chunk, const char* extension) const;
  void check();
  void check_chunk(const Chunk& chunk, class DecodingMemory& memory) const;

  const PackingContext& context_;
  std::vector<config::Source> sources_;
  std::filesystem::path work_folder_;
  std::filesystem::path survey_folder_;
  std::optional<SourceList> list_;  // once its folder is there
};

}  // namespace cskd::packing

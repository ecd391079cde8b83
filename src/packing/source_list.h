// The list of all pictures of the sources, cut into chunks.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "config/source.pb.h"
#include "packing/packing_context.h"
#include "packing/passed_over.h"
#include "runtime/content_hash.h"
#include "shards/survey.pb.h"

namespace cskd::packing {

constexpr std::uint32_t kSurveyVersion = 1;  // of chunks' files

// Some consecutive pictures of a source.
struct Chunk {
  std::uint32_t source = 0;
  std::uint32_t part = 0;     // of the source
  std::uint32_t number = 0;   // in the part
  std::uint32_t samples = 0;  // faulty ones too
  std::uint64_t bytes = 0;    // of the pictures as they came
  runtime::ContentHash digest;
  std::uint64_t first = 0;  // samples of all chunks before it
};

class SourceList {
 public:
  // Lists the sources into files of `folder`, which is there on every rank. Collective. `context` and `sources` must
  // outlive it. Throws DataError when a source is missing, empty or damaged, or when ranks see different files; Error
  // with exit code 75 when a signal asked to stop.
  SourceList(const PackingContext& context, const std::vector<config::Source>& sources, std::filesystem::path folder);

  // In the order of sources, parts and numbers.
  const std::vector<Chunk>& chunks() const noexcept { return chunks_; }
  std::uint64_t samples() const noexcept { return samples_; }
  // The pictures of a chunk, not checked. Throws DataError when its file is damaged.
  shards::SurveyChunk read(const Chunk& chunk) const;

  // See Survey.
  const std::map<std::string, std::uint64_t>& passed_over(std::size_t source) const { return passed_over_[source]; }
  void for_each_passed_over(const std::function<void(std::string_view line)>& take) const;

 private:
  std::filesystem::path list_path(const Chunk& chunk) const;
  std::filesystem::path passed_over_path(const std::string& place) const;
  std::filesystem::path unpacked_folder() const { return folder_ / "unpacked"; }
  std::string list_part(std::uint32_t source, std::uint32_t part, const std::string& name, PassedOver& passed_over);
  std::string write_passed_over(const PassedOver& passed_over, const std::string& place) const;
  void gather_passed_over(const std::string& own);
  void list();
  void refuse_empty_sources() const;
  void refuse_other_files() const;

  const PackingContext& context_;
  const std::vector<config::Source>& sources_;
  std::filesystem::path folder_;
  std::vector<Chunk> chunks_;
  std::uint64_t samples_ = 0;
  std::vector<std::map<std::string, std::uint64_t>> passed_over_;  // by source
  std::vector<std::string> passed_over_places_;                    // parts of sources that have some, sorted
};

// The message in a chunk's file. Throws DataError, naming `path`, when it is damaged.
shards::SurveyChunk parse_chunk(const std::string& bytes, const std::filesystem::path& path);

}  // namespace cskd::packing

// Which picture lies in which new shard, and where.
//
// Note [Order in shards]
// Pictures of a source and split are shuffled by a keyed hash of their pixels and then cut into shards: every shard is
// a fair sample of its source, and the order does not depend on names, ranks or time.
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <vector>

#include "shards/image_shard_writer.h"
#include "stages/duplicates.h"
#include "stages/sample_index.h"
#include "stages/survey.h"

namespace cskd::stages {

// Place of a picture in its source and split.
struct ShuffleKey {
  std::uint64_t key = 0;
  std::uint64_t tie = 0;  // pictures of a test split may be equal

  auto operator<=>(const ShuffleKey&) const = default;  // NOLINT(modernize-use-nullptr): clang-tidy 14 misreads <=>
};
ShuffleKey shuffle_key(std::uint64_t seed, const runtime::ContentHash& pixel_hash, std::uint64_t key_hash);

// A shard to be: the kept pictures of a source and split with first <= shuffle key <= last.
struct ShardCut {
  std::string file;
  std::uint32_t source = 0;
  shards::Split split = shards::Split::kUnlabelled;
  ShuffleKey first, last;
  std::uint64_t samples = 0;
  std::uint64_t bytes = 0;
};

struct CutRules {
  std::uint64_t samples = 16'384;      // most of a shard
  std::uint64_t bytes = 512ULL << 20;  // most of a shard; a single larger picture has a shard of its own
  std::uint64_t seed = 1;
  std::uint32_t generation = 0;
};

// The shards of all pictures of the index that are usable, not packed and not lost, by source, test split first.
// Memory: 40 bytes a picture.
std::vector<ShardCut> cut_into_shards(const SampleIndex& index, const std::vector<Loss>& losses,
                                      const std::vector<config::Source>& sources, const CutRules& rules);

// A shard with its rows, and where the bytes of each come from.
struct PlannedShard {
  shards::ShardPlan plan;
  std::vector<Chunk> chunks;                           // [rows]
  std::vector<shards::SurveyChunk::Picture> pictures;  // [rows]
};

// The rows of consecutive cuts of one source and split: reads the survey of that source once. `packed` is the number of
// records that precede those of the survey in the index. Throws as Survey::read().
std::vector<PlannedShard> plan_rows(const Survey& survey, const std::vector<Loss>& losses, std::uint64_t packed,
                                    std::span<const ShardCut> cuts, const CutRules& rules);

}  // namespace cskd::stages

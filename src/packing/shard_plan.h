// The plan of new shards: which picture lies in which, and where.
//
// Note [Order in shards]
// Pictures of a source and split are shuffled by a keyed hash of their pixels and then cut into shards: every shard is
// a fair sample of its source, and the order does not depend on names, ranks or time.
#pragma once

#include <compare>
#include <cstdint>
#include <filesystem>
#include <vector>

#include "packing/drop_list.h"
#include "packing/sample_index.h"
#include "packing/survey.h"
#include "runtime/record_file.h"
#include "shards/image_shard/writer.h"

namespace cskd::packing {

// Place of a picture in its source and split.
struct ShuffleKey {
  std::uint64_t key = 0;
  std::uint64_t tie = 0;  // pictures of a test split may be equal

  auto operator<=>(const ShuffleKey&) const = default;  // NOLINT(modernize-use-nullptr): clang-tidy 14 misreads <=>
};
ShuffleKey shuffle_key(std::uint64_t seed, const runtime::ContentHash& pixel_hash, std::uint64_t key_hash);

// A picture that is to be packed, at its place in the order of all: sources as the survey has them, test splits first,
// then by shuffle key.
struct OrderEntry {
  std::uint32_t source = 0;
  std::uint32_t split = 0;
  ShuffleKey key;
  std::uint64_t number = 0;  // of its record
  std::uint64_t bytes = 0;   // stored
  ChunkPlace place;
};
using PackingOrder = runtime::RecordFile<OrderEntry>;

// Writes the order of all pictures of the index that are usable, not packed and not lost to the file `path`; working
// files lie beside it. Holds `memory` bytes. Throws Error when the disk is full.
void write_packing_order(const SampleIndex& index, const DropList& drops, std::uint64_t seed, std::uint64_t memory,
                         const std::filesystem::path& path);

// A shard to be: `samples` pictures of a source and split that follow each other in the order, from `first` on.
struct ShardCut {
  std::uint32_t source = 0;
  shards::Split split = shards::Split::kUnlabelled;
  std::uint32_t number = 0;  // among those of its source and split
  std::uint64_t first = 0;
  std::uint64_t samples = 0;
  std::uint64_t bytes = 0;
};

struct CutRules {
  std::uint64_t samples = 16'384;      // most of a shard
  std::uint64_t bytes = 512ULL << 20;  // most of a shard; a single larger picture has a shard of its own
};

// As few shards as the rules allow, those of a source and split of like size.
std::vector<ShardCut> cut_into_shards(const PackingOrder& order, const CutRules& rules);

// A shard with its rows, and where the bytes of each come from.
struct PlannedShard {
  shards::ShardPlan plan;
  std::vector<const Chunk*> chunks;                    // [rows], of the survey
  std::vector<shards::SurveyChunk::Picture> pictures;  // [rows]
};

// `packed`: how many records precede those of the survey in the index. Throws as Survey::read_pictures().
PlannedShard plan_shard(const Survey& survey, const PackingOrder& order, std::uint64_t packed, const ShardCut& cut,
                        std::uint32_t generation);

}  // namespace cskd::packing

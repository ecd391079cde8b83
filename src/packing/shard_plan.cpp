#include "packing/shard_plan.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <tuple>
#include <utility>

#include <fmt/format.h>

#include "runtime/check.h"
#include "runtime/error.h"
#include "runtime/external_sort.h"
#include "shards/importers/importer.h"

namespace cskd::packing {
namespace {

using shards::Split;
using Picture = shards::SurveyChunk::Picture;

struct ByPlace {
  bool operator()(const OrderEntry& a, const OrderEntry& b) const {
    // Splits with the highest number, tests, come first.
    return std::tuple(a.source, -std::int64_t{a.split}, a.key) < std::tuple(b.source, -std::int64_t{b.split}, b.key);
  }
};

std::string file_name(const std::string& source, const ShardCut& cut, std::uint32_t generation) {
  if (generation == 0) return fmt::format("{}-{}-{:05}.h5", source, to_string(cut.split), cut.number);
  return fmt::format("{}-{}-g{}-{:05}.h5", source, to_string(cut.split), generation, cut.number);
}

// Fills one shard after the other, in the order.
class Cutter {
 public:
  explicit Cutter(const CutRules& rules) : rules_(rules) {}

  // `most`: samples of a shard.
  void take(const OrderEntry& picture, std::uint64_t position, std::uint64_t most) {
    const bool follows = !cuts_.empty() && is_of(picture, cuts_.back());
    const bool fits = follows && cuts_.back().samples < most && cuts_.back().bytes + picture.bytes <= rules_.bytes;
    if (!fits) {
      cuts_.push_back({.source = picture.source,
                       .split = static_cast<Split>(picture.split),
                       .number = follows ? cuts_.back().number + 1 : 0,
                       .first = position});
    }
    ++cuts_.back().samples;
    cuts_.back().bytes += picture.bytes;
  }

  static bool is_of(const OrderEntry& picture, const ShardCut& cut) {
    return cut.source == picture.source && cut.split == static_cast<Split>(picture.split);
  }
  const std::vector<ShardCut>& cuts() const { return cuts_; }

 private:
  const CutRules& rules_;
  std::vector<ShardCut> cuts_;
};

template <typename Take>
void for_each_placed(const PackingOrder& order, Take take) {
  std::uint64_t position = 0;
  for (runtime::RecordCursor<OrderEntry> cursor(order); cursor.current() != nullptr; cursor.advance())
    take(*cursor.current(), position++);
}

shards::ShardRow row_of(const Picture& picture, bool labelled) {
  shards::ShardRow row{.key = picture.key(),
                       .size = picture.stored_size(),
                       .hash = runtime::ContentHash::from_bytes(picture.hash()),
                       .pixel_hash = runtime::ContentHash::from_bytes(picture.pixel_hash()),
                       .phash = picture.phash(),
                       .width = static_cast<std::uint16_t>(picture.width()),
                       .height = static_cast<std::uint16_t>(picture.height()),
                       .format = static_cast<std::uint8_t>(picture.format()),
                       .orientation = static_cast<std::uint8_t>(picture.orientation())};
  CSKD_CHECK(picture.thumbnail().size() == row.thumbnail.size(), "a thumbnail of {} bytes", picture.thumbnail().size());
  std::memcpy(row.thumbnail.data(), picture.thumbnail().data(), row.thumbnail.size());
  if (labelled)
    row.label = {picture.mean(), picture.stddev(), {picture.histogram().begin(), picture.histogram().end()}};
  return row;
}

}  // namespace

ShuffleKey shuffle_key(std::uint64_t seed, const runtime::ContentHash& pixel_hash, std::uint64_t key_hash) {
  runtime::ContentHasher hasher;
  hasher.add_field(seed);
  hasher.add(std::as_bytes(std::span(pixel_hash.bytes)));
  return {hasher.hash().prefix(), key_hash};
}

void write_packing_order(const SampleIndex& index, const DropList& drops, std::uint64_t seed, std::uint64_t memory,
                         const std::filesystem::path& path) {
  runtime::ExternalSorter<OrderEntry, ByPlace> pictures(path.native() + "-sort", memory);
  DropCursor cursor(drops);
  index.for_each([&](std::uint64_t number, const IndexRecord& record) {
    if (record.faulty != 0 || record.packed != 0 || cursor.of(number) != nullptr) return;
    pictures.add({.source = record.source,
                  .split = static_cast<std::uint32_t>(record.split),
                  .key = shuffle_key(seed, record.pixel_hash, record.key_hash),
                  .number = number,
                  .bytes = record.stored_size,
                  .place = {record.place, record.place_size}});
  });
  pictures.take_all_to(path);
}

std::vector<ShardCut> cut_into_shards(const PackingOrder& order, const CutRules& rules) {
  // How few shards each source and split needs, and with how many pictures in each they are of like size.
  Cutter fullest(rules);
  for_each_placed(order, [&](const OrderEntry& picture, std::uint64_t position) {
    fullest.take(picture, position, rules.samples);
  });
  std::vector<std::uint64_t> most;  // of each source and split
  for (auto first = fullest.cuts().begin(); first != fullest.cuts().end();) {
    const auto end = std::find_if(first + 1, fullest.cuts().end(), [](const ShardCut& cut) { return cut.number == 0; });
    const auto shards = static_cast<std::uint64_t>(end - first);
    const std::uint64_t samples = (end - 1)->first + (end - 1)->samples - first->first;
    most.push_back((samples + shards - 1) / shards);
    first = end;
  }
  Cutter balanced(rules);
  std::size_t group = 0;
  for_each_placed(order, [&](const OrderEntry& picture, std::uint64_t position) {
    if (position > 0 && !Cutter::is_of(picture, balanced.cuts().back())) ++group;
    balanced.take(picture, position, most[group]);
  });
  return balanced.cuts();
}

PlannedShard plan_shard(const Survey& survey, const PackingOrder& order, std::uint64_t packed, const ShardCut& cut,
                        std::uint32_t generation) {
  const config::Source& source = survey.sources()[cut.source];
  const bool labelled = cut.split != Split::kUnlabelled;
  PlannedShard shard;
  shard.plan = {.file = file_name(source.name(), cut, generation),
                .source = cut.source,
                .split = cut.split,
                .bins = labelled ? static_cast<std::uint32_t>(shards::bin_centres(source).size()) : 0,
                .generation = generation,
                .source_name = source.name()};
  std::vector<OrderEntry> placed(cut.samples);
  order.read(cut.first, placed);
  shard.plan.rows.resize(cut.samples);
  shard.chunks.resize(cut.samples);
  shard.pictures.resize(cut.samples);

  // Chunk by chunk, each read once.
  std::vector<std::size_t> rows(cut.samples);
  std::iota(rows.begin(), rows.end(), std::size_t{0});
  std::sort(rows.begin(), rows.end(),
            [&](std::size_t a, std::size_t b) { return placed[a].number < placed[b].number; });
  for (auto first = rows.begin(); first != rows.end();) {
    const Chunk& chunk = survey.chunk_of(placed[*first].number - packed);
    const std::uint64_t end_number = packed + chunk.first + chunk.samples;
    const auto end = std::find_if(first, rows.end(), [&](std::size_t row) { return placed[row].number >= end_number; });
    std::vector<ChunkPlace> places;
    for (auto row = first; row != end; ++row) places.push_back(placed[*row].place);
    std::vector<Picture> pictures = survey.read_pictures(chunk, places);
    for (auto row = first; row != end; ++row) {
      Picture& picture = pictures[static_cast<std::size_t>(row - first)];
      if (key_hash(source.name(), picture.key()) != placed[*row].key.tie) {
        throw runtime::DataError(
            fmt::format("the survey of source '{}' changed while it was packed: does another job use this run.folder?",
                        source.name()));
      }
      shard.plan.rows[*row] = row_of(picture, labelled);
      picture.clear_thumbnail();
      picture.clear_histogram();
      shard.chunks[*row] = &chunk;
      shard.pictures[*row] = std::move(picture);
    }
    first = end;
  }
  return shard;
}

}  // namespace cskd::packing

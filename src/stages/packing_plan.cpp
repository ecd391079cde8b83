#include "stages/packing_plan.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <tuple>
#include <utility>

#include <fmt/format.h>

#include "runtime/check.h"
#include "shards/importers/importer.h"

namespace cskd::stages {
namespace {

using shards::Split;
using Picture = shards::SurveyChunk::Picture;

struct Item {
  std::uint32_t source = 0;
  Split split = Split::kUnlabelled;
  std::uint64_t bytes = 0;
  ShuffleKey key;
};

bool lies_before(const Item& a, const Item& b) {
  return std::tuple(a.source, -static_cast<int>(a.split), a.key) <
         std::tuple(b.source, -static_cast<int>(b.split), b.key);
}

std::string file_name(const std::string& source, Split split, std::uint32_t generation, int number) {
  if (generation == 0) return fmt::format("{}-{}-{:05}.h5", source, to_string(split), number);
  return fmt::format("{}-{}-g{}-{:05}.h5", source, to_string(split), generation, number);
}

// The shards of one source and split, filled up one after the other.
std::vector<ShardCut> cut_group(std::span<const Item> items, const std::vector<config::Source>& sources,
                                const CutRules& rules, std::uint64_t most_samples) {
  std::vector<ShardCut> cuts;
  for (const Item& item : items) {
    if (cuts.empty() || cuts.back().samples == most_samples || cuts.back().bytes + item.bytes > rules.bytes) {
      cuts.push_back(
          {.file = file_name(sources[item.source].name(), item.split, rules.generation, static_cast<int>(cuts.size())),
           .source = item.source,
           .split = item.split,
           .first = item.key});
    }
    cuts.back().last = item.key;
    ++cuts.back().samples;
    cuts.back().bytes += item.bytes;
  }
  return cuts;
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

struct Found {
  ShuffleKey key;
  Chunk chunk;
  Picture picture;
};

PlannedShard make_shard(const ShardCut& cut, std::vector<Found> found, const config::Source& source,
                        const CutRules& rules) {
  std::sort(found.begin(), found.end(), [](const Found& a, const Found& b) { return a.key < b.key; });
  const bool labelled = cut.split != Split::kUnlabelled;
  PlannedShard shard;
  shard.plan = {.file = cut.file,
                .source = cut.source,
                .split = cut.split,
                .bins = labelled ? static_cast<std::uint32_t>(shards::bin_centres(source).size()) : 0,
                .generation = rules.generation,
                .source_name = source.name()};
  for (Found& row : found) {
    shard.plan.rows.push_back(row_of(row.picture, labelled));
    row.picture.clear_thumbnail();
    row.picture.clear_histogram();
    shard.chunks.push_back(row.chunk);
    shard.pictures.push_back(std::move(row.picture));
  }
  CSKD_CHECK(shard.plan.rows.size() == cut.samples, "{} holds {} samples, {} were planned", cut.file,
             shard.plan.rows.size(), cut.samples);
  return shard;
}

}  // namespace

ShuffleKey shuffle_key(std::uint64_t seed, const runtime::ContentHash& pixel_hash, std::uint64_t key_hash) {
  runtime::ContentHasher hasher;
  hasher.add_field(seed);
  hasher.add(std::as_bytes(std::span(pixel_hash.bytes)));
  return {hasher.hash().prefix(), key_hash};
}

std::vector<ShardCut> cut_into_shards(const SampleIndex& index, const std::vector<Loss>& losses,
                                      const std::vector<config::Source>& sources, const CutRules& rules) {
  std::vector<Item> items;
  LossCursor cursor(losses);
  index.for_each([&](std::uint64_t number, const IndexRecord& record) {
    if (record.faulty != 0 || record.packed != 0 || cursor.of(number) != nullptr) return;
    items.push_back(
        {record.source, record.split, record.stored_size, shuffle_key(rules.seed, record.pixel_hash, record.key_hash)});
  });
  std::sort(items.begin(), items.end(), lies_before);
  std::vector<ShardCut> cuts;
  for (auto first = items.begin(); first != items.end();) {
    const auto end = std::find_if(first, items.end(), [&](const Item& item) {
      return item.source != first->source || item.split != first->split;
    });
    const std::span<const Item> group(first, end);
    // As few shards as the limits allow, and those of like size.
    const std::uint64_t shards = cut_group(group, sources, rules, rules.samples).size();
    for (const ShardCut& cut : cut_group(group, sources, rules, (group.size() + shards - 1) / shards))
      cuts.push_back(cut);
    first = end;
  }
  return cuts;
}

std::vector<PlannedShard> plan_rows(const Survey& survey, const std::vector<Loss>& losses, std::uint64_t packed,
                                    std::span<const ShardCut> cuts, const CutRules& rules) {
  CSKD_CHECK(!cuts.empty(), "no shard to plan");
  const config::Source& source = survey.sources()[cuts.front().source];
  std::vector<std::vector<Found>> found(cuts.size());
  for (const Chunk& chunk : survey.chunks()) {
    if (chunk.source != cuts.front().source) continue;
    shards::SurveyChunk pictures = survey.read(chunk);
    LossCursor cursor(losses, packed + chunk.first);
    for (int i = 0; i < pictures.pictures_size(); ++i) {
      Picture& picture = *pictures.mutable_pictures(i);
      const std::uint64_t number = packed + chunk.first + static_cast<std::uint64_t>(i);
      if (!picture.fault().empty() || picture.split() != static_cast<std::uint32_t>(cuts.front().split) ||
          cursor.of(number) != nullptr) {
        continue;
      }
      const ShuffleKey key = shuffle_key(rules.seed, runtime::ContentHash::from_bytes(picture.pixel_hash()),
                                         key_hash(source.name(), picture.key()));
      const auto cut =
          std::lower_bound(cuts.begin(), cuts.end(), key,
                           [](const ShardCut& each, const ShuffleKey& wanted) { return each.last < wanted; });
      if (cut == cuts.end() || key < cut->first) continue;
      found[static_cast<std::size_t>(cut - cuts.begin())].push_back({key, chunk, std::move(picture)});
    }
  }
  std::vector<PlannedShard> planned;
  for (std::size_t i = 0; i < cuts.size(); ++i)
    planned.push_back(make_shard(cuts[i], std::move(found[i]), source, rules));
  return planned;
}

}  // namespace cskd::stages

#include "packing/source_changes.h"

#include <algorithm>
#include <cstring>
#include <set>
#include <span>
#include <string>
#include <tuple>

#include <fmt/format.h>

#include "packing/sample_index.h"
#include "runtime/content_hash.h"
#include "runtime/external_sort.h"
#include "runtime/record_file.h"
#include "shards/image_shard/reader.h"

namespace cskd::packing {
namespace {

using shards::Manifest;

constexpr std::uint64_t kSortMemory = 256ULL << 20;

enum class Holder : std::uint8_t { kUsable, kDamaged, kMissing, kRow };  // rows come last among those of a key

struct Identity {
  std::uint64_t key_hash = 0;
  std::uint64_t picture_hash = 0;
  std::uint64_t label_hash = 0;
  std::uint64_t row = 0;  // place_of(): of a row of a shard only
  shards::Split split = shards::Split::kUnlabelled;
  Holder holder = Holder::kUsable;
  std::array<std::uint8_t, 6> unused{};
};

struct ByKey {
  bool operator()(const Identity& a, const Identity& b) const {
    return std::tie(a.key_hash, a.holder, a.row) < std::tie(b.key_hash, b.holder, b.row);
  }
};

enum class Change : std::uint32_t { kNone, kChanged, kRelabelled, kGone };

struct StaleRow {
  std::uint64_t row = 0;
  Change change = Change::kNone;
  std::uint32_t unused = 0;
};

struct ByRow {
  bool operator()(const StaleRow& a, const StaleRow& b) const { return a.row < b.row; }
};

std::uint64_t place_of(std::size_t shard, std::uint64_t row) { return std::uint64_t{shard} << 32U | row; }

std::uint64_t label_hash(std::span<const float> histogram) {
  return histogram.empty() ? 0 : runtime::content_hash(std::as_bytes(histogram)).prefix();
}

// Another decoder may read other sizes out of the same bytes, as where it turns them otherwise.
std::uint64_t picture_hash(const runtime::ContentHash& bytes, std::uint64_t width, std::uint64_t height) {
  runtime::ContentHasher hasher;
  hasher.add(std::as_bytes(std::span(bytes.bytes)));
  hasher.add_field(width);
  hasher.add_field(height);
  return hasher.hash().prefix();
}

Identity identity_of(const shards::SurveyChunk::Picture& picture, const std::string& source) {
  Identity identity{.key_hash = key_hash(source, picture.key()), .split = static_cast<shards::Split>(picture.split())};
  if (!picture.fault().empty()) {
    identity.holder = picture.size() == 0 ? Holder::kMissing : Holder::kDamaged;
    return identity;
  }
  identity.picture_hash =
      picture_hash(runtime::ContentHash::from_bytes(picture.hash()), picture.width(), picture.height());
  if (identity.split != shards::Split::kUnlabelled)
    identity.label_hash = label_hash({picture.histogram().data(), static_cast<std::size_t>(picture.histogram_size())});
  return identity;
}

// The identities of every so many shards and chunks, to a file that all ranks see.
void write_identities(const PackingContext& context, const Survey& survey, const Manifest& packed,
                      const std::filesystem::path& path) {
  const auto rank = static_cast<std::size_t>(context.world.rank());
  const auto ranks = static_cast<std::size_t>(context.world.size());
  runtime::RecordWriter<Identity> writer(path);
  for (std::size_t i = rank; i < static_cast<std::size_t>(packed.shards_size()); i += ranks) {
    const Manifest::Shard& shard = packed.shards(static_cast<int>(i));
    const std::string& source = packed.sources(static_cast<int>(shard.source())).name();
    const shards::ImageShardReader reader(context.folder / shard.file(), shard, source);
    const std::set<std::uint64_t> withdrawn(shard.withdrawn().begin(), shard.withdrawn().end());
    for (std::uint64_t row = 0; row < shard.samples(); ++row) {
      if (withdrawn.contains(row)) continue;
      writer.add({.key_hash = key_hash(source, reader.key(row)),
                  .picture_hash = picture_hash(reader.hash(row), static_cast<std::uint64_t>(reader.width(row)),
                                               static_cast<std::uint64_t>(reader.height(row))),
                  .label_hash = reader.has_labels() ? label_hash(reader.histogram(row)) : 0,
                  .row = place_of(i, row),
                  .split = static_cast<shards::Split>(shard.split()),
                  .holder = Holder::kRow});
    }
  }
  const std::vector<Chunk>& chunks = survey.chunks();
  for (std::size_t i = rank; i < chunks.size(); i += ranks) {
    const shards::SurveyChunk pictures = survey.read(chunks[i]);
    const std::string& source = survey.sources()[chunks[i].source].name();
    for (const auto& picture : pictures.pictures()) writer.add(identity_of(picture, source));
  }
  writer.close();
}

// What became of a row whose key these pictures of the sources have.
Change change_of(const Identity& row, const std::vector<Identity>& pictures) {
  bool has_bytes = false;
  bool is_there = false;
  for (const Identity& picture : pictures) {
    is_there = is_there || picture.holder != Holder::kMissing;
    if (picture.holder != Holder::kUsable || picture.picture_hash != row.picture_hash) continue;
    if (picture.label_hash == row.label_hash && picture.split == row.split) return Change::kNone;
    has_bytes = true;
  }
  if (has_bytes) return Change::kRelabelled;
  return is_there ? Change::kChanged : Change::kGone;
}

// Rank r looks at the keys with a hash r modulo the number of ranks; rank 0 takes all stale rows, rising.
template <typename Take>
void find_stale_rows(const PackingContext& context, const std::vector<std::filesystem::path>& parts,
                     const std::filesystem::path& stem, Take take) {
  const auto rank = static_cast<std::uint64_t>(context.world.rank());
  const auto ranks = static_cast<std::uint64_t>(context.world.size());
  const std::string own = fmt::format("{}-sort-{}", stem.native(), rank);
  runtime::ExternalSorter<StaleRow, ByRow> stale(own + "-stale", kSortMemory / 4);
  {
    runtime::ExternalSorter<Identity, ByKey> identities(own, kSortMemory);
    for (const std::filesystem::path& part : parts) {
      const runtime::RecordFile<Identity> file(part);
      for (runtime::RecordCursor<Identity> cursor(file); cursor.current() != nullptr; cursor.advance()) {
        if (cursor.current()->key_hash % ranks == rank) identities.add(*cursor.current());
      }
    }
    std::vector<Identity> pictures;  // of one key; more than one where hashes of keys are equal
    identities.take_all([&](const Identity& identity) {
      if (!pictures.empty() && pictures.front().key_hash != identity.key_hash) pictures.clear();
      if (identity.holder != Holder::kRow) {
        pictures.push_back(identity);
      } else if (const Change change = change_of(identity, pictures); change != Change::kNone) {
        stale.add({identity.row, change});
      }
    });
  }
  stale.take_all_of_ranks(context.world, stem.native() + "-stale-of", take);
}

// Withdraws a row that is met in rising order.
class Withdrawer {
 public:
  explicit Withdrawer(Manifest& manifest)
      : manifest_(manifest), added_(static_cast<std::size_t>(manifest.shards_size())) {}

  const Manifest::Shard& shard_of(std::uint64_t place) const {
    return manifest_.shards(static_cast<int>(place >> 32U));
  }
  void withdraw(std::uint64_t place) {
    added_[place >> 32U].push_back(static_cast<std::uint32_t>(place & 0xFFFF'FFFFU));
  }
  // Shards that lost their last row are taken out.
  void apply() {
    google::protobuf::RepeatedPtrField<Manifest::Shard> rest;
    for (std::size_t i = 0; i < added_.size(); ++i) {
      Manifest::Shard& shard = *manifest_.mutable_shards(static_cast<int>(i));
      std::set<std::uint32_t> withdrawn(shard.withdrawn().begin(), shard.withdrawn().end());
      withdrawn.insert(added_[i].begin(), added_[i].end());
      if (!added_[i].empty() && withdrawn.size() == shard.samples()) continue;
      shard.mutable_withdrawn()->Assign(withdrawn.begin(), withdrawn.end());
      *rest.Add() = std::move(shard);
    }
    manifest_.mutable_shards()->Swap(&rest);
  }

 private:
  Manifest& manifest_;
  std::vector<std::vector<std::uint32_t>> added_;  // by shard
};

}  // namespace

std::vector<SourceChanges> withdraw_stale_rows(const PackingContext& context, const Survey& survey,
                                               const std::filesystem::path& folder,
                                               std::optional<shards::Manifest>& packed) {
  std::vector<SourceChanges> changes(survey.sources().size());
  if (!packed) return changes;
  std::vector<std::filesystem::path> parts;
  parts.reserve(static_cast<std::size_t>(context.world.size()));
  for (int rank = 0; rank < context.world.size(); ++rank)
    parts.emplace_back(folder / fmt::format("identities-{}", rank));
  write_identities(context, survey, *packed, parts[static_cast<std::size_t>(context.world.rank())]);
  context.world.barrier();

  const bool keeps = context.config.packing().when_gone() == config::keep;
  Withdrawer withdrawer(*packed);
  find_stale_rows(context, parts, folder / "identities", [&](const StaleRow& stale) {
    SourceChanges& source = changes[withdrawer.shard_of(stale.row).source()];
    if (stale.change == Change::kChanged) ++source.changed;
    if (stale.change == Change::kRelabelled) ++source.relabelled;
    if (stale.change == Change::kGone) ++source.gone;
    if (stale.change != Change::kGone || !keeps) withdrawer.withdraw(stale.row);
  });
  if (context.world.rank() == 0) withdrawer.apply();
  packed->ParseFromString(context.world.broadcast(packed->SerializeAsString()));
  const std::string counts =
      context.world.broadcast({reinterpret_cast<const char*>(changes.data()), changes.size() * sizeof(SourceChanges)});
  std::memcpy(changes.data(), counts.data(), counts.size());
  return changes;
}

}  // namespace cskd::packing

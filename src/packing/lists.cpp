#include "packing/lists.h"

#include <algorithm>
#include <string>
#include <string_view>

#include <fmt/format.h>

#include "packing/list_line.h"
#include "packing/packed_corpus.h"
#include "runtime/atomic_file.h"
#include "runtime/check.h"

namespace cskd::packing {
namespace {

using Numbers = std::vector<std::uint64_t>;

// What a list says of a picture.
struct Named {
  std::string source;
  std::string key;
  std::string hash;  // of its stored bytes
  shards::Split split = shards::Split::kUnlabelled;
};

// The names of pictures by their number in the index, which the caller gives sorted, each once.
class NameFinder {
 public:
  NameFinder(const std::filesystem::path& folder, const Survey& survey, const SampleIndex& index,
             const std::optional<shards::Manifest>& packed)
      : folder_(folder),
        survey_(survey),
        index_(index),
        packed_(packed),
        packed_rows_(packed ? count_packed_rows(*packed) : 0) {}

  std::uint64_t packed_rows() const noexcept { return packed_rows_; }

  std::vector<Named> names(const Numbers& numbers) const {
    std::vector<Named> names;
    names.reserve(numbers.size());
    auto next = numbers.begin();
    if (next != numbers.end() && *next < packed_rows_) {
      std::uint64_t number = 0;
      const auto take = [&](const IndexRecord& record, const std::string& key, const runtime::ContentHash& hash) {
        if (next != numbers.end() && *next == number++) {
          ++next;
          const std::string& source = packed_->sources(static_cast<int>(record.source)).name();
          names.push_back({source, key, text_of(hash), record.split});
        }
      };
      for_each_packed_row(folder_, *packed_, take);
    }
    while (next != numbers.end()) {
      const Chunk& chunk = survey_.chunk_of(*next - packed_rows_);
      std::vector<ChunkPlace> places;
      for (; next != numbers.end() && *next < packed_rows_ + chunk.first + chunk.samples; ++next) {
        const IndexRecord record = index_.record(*next);
        places.push_back({record.place, record.place_size});
      }
      for (const auto& picture : survey_.read_pictures(chunk, places)) {
        names.push_back({survey_.sources()[chunk.source].name(), picture.key(), picture.file_hash(),
                         static_cast<shards::Split>(picture.split())});
      }
    }
    CSKD_CHECK(names.size() == numbers.size(), "{} of {} pictures have names", names.size(), numbers.size());
    return names;
  }

 private:
  static std::string text_of(const runtime::ContentHash& hash) { return {hash.bytes.begin(), hash.bytes.end()}; }

  const std::filesystem::path& folder_;
  const Survey& survey_;
  const SampleIndex& index_;
  const std::optional<shards::Manifest>& packed_;
  std::uint64_t packed_rows_;
};

std::string_view word_of(DropKind kind) {
  switch (kind) {
    case DropKind::kDuplicate:
      return "duplicate";
    case DropKind::kNearDuplicate:
      return "near_duplicate";
    case DropKind::kLeaked:
      return "leaked";
    case DropKind::kNearlyLeaked:
      return "nearly_leaked";
    case DropKind::kPacked:
      break;
  }
  CSKD_CHECK(false, "kind {} is not listed", static_cast<int>(kind));
  return "";
}

std::string reason(DropKind kind, const Named& dropped, const Named& kept) {
  const bool near = kind == DropKind::kNearDuplicate || kind == DropKind::kNearlyLeaked;
  return fmt::format("{} the {} picture '{}' of '{}'",
                     near                        ? "nearly equals"
                     : dropped.hash == kept.hash ? "has the same bytes as"
                                                 : "has the same pixels as",
                     to_string(kept.split), kept.key, kept.source);
}

}  // namespace

void write_quarantine(const std::filesystem::path& folder, const Survey& survey) {
  runtime::AtomicFile file(folder / kQuarantineFile);
  for (const Chunk& chunk : survey.chunks()) {
    const shards::SurveyChunk pictures = survey.read(chunk);
    for (const auto& picture : pictures.pictures()) {
      if (picture.fault().empty()) continue;
      file.write(list_line(survey.sources()[chunk.source].name(), picture.key(), "quarantined", picture.fault()));
    }
  }
  file.commit();
}

void write_passed_over(const std::filesystem::path& folder, const Survey& survey) {
  runtime::AtomicFile file(folder / kPassedOverFile);
  survey.for_each_passed_over([&](std::string_view line) { file.write(line); });
  file.commit();
}

void write_dropped(const std::filesystem::path& folder, const Survey& survey, const SampleIndex& index,
                   const std::optional<shards::Manifest>& packed, const DropList& drops) {
  constexpr std::size_t kAtOnce = 1U << 17;  // drops whose names are held in memory
  const NameFinder finder(folder, survey, index, packed);
  runtime::AtomicFile file(folder / kDroppedFile);
  runtime::RecordCursor<Drop> cursor(drops);
  while (cursor.current() != nullptr) {
    std::vector<Drop> listed;
    Numbers numbers;
    for (; cursor.current() != nullptr && listed.size() < kAtOnce; cursor.advance()) {
      const Drop& drop = *cursor.current();
      // Rows that are withdrawn are not listed: the pictures that they were packed from are.
      if (drop.kind == DropKind::kPacked || drop.dropped < finder.packed_rows()) continue;
      listed.push_back(drop);
      numbers.insert(numbers.end(), {drop.dropped, drop.kept});
    }
    std::sort(numbers.begin(), numbers.end());
    numbers.erase(std::unique(numbers.begin(), numbers.end()), numbers.end());
    const std::vector<Named> names = finder.names(numbers);
    const auto name_of = [&](std::uint64_t number) -> const Named& {
      return names[static_cast<std::size_t>(std::lower_bound(numbers.begin(), numbers.end(), number) -
                                            numbers.begin())];
    };
    for (const Drop& drop : listed) {
      const Named& dropped = name_of(drop.dropped);
      file.write(
          list_line(dropped.source, dropped.key, word_of(drop.kind), reason(drop.kind, dropped, name_of(drop.kept))));
    }
  }
  file.commit();
}

}  // namespace cskd::packing

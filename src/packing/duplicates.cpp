#include "packing/duplicates.h"

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "packing/candidate.h"
#include "packing/near_duplicates.h"
#include "runtime/external_sort.h"
#include "runtime/shared_files.h"

namespace cskd::packing {
namespace {

struct PixelRecord {
  runtime::ContentHash pixel_hash;
  std::uint64_t key_hash = 0;
  Candidate candidate;
};

struct ByPixels {
  bool operator()(const PixelRecord& a, const PixelRecord& b) const {
    return a.pixel_hash != b.pixel_hash ? a.pixel_hash < b.pixel_hash : stays_before(a.candidate, b.candidate);
  }
};

// Takes pictures by their pixels, best first, and tells which are lost.
class EqualPictures {
 public:
  std::optional<Drop> take(const PixelRecord& item) {
    if (kept_.empty() || kept_.front().pixel_hash != item.pixel_hash) kept_.clear();
    const auto same = std::find_if(kept_.begin(), kept_.end(), [&](const PixelRecord& other) {
      return other.candidate.packed != 0 && item.candidate.packed == 0 && other.key_hash == item.key_hash &&
             other.candidate.split == item.candidate.split;
    });
    if (same != kept_.end()) return Drop{item.candidate.number, same->candidate.number, DropKind::kPacked};
    const auto better = std::find_if(kept_.begin(), kept_.end(), [&](const PixelRecord& other) {
      return may_drop(other.candidate, item.candidate);
    });
    if (better == kept_.end()) {
      kept_.push_back(item);
      return std::nullopt;
    }
    const bool leaks = better->candidate.is_held_out();
    return Drop{item.candidate.number, better->candidate.number, leaks ? DropKind::kLeaked : DropKind::kDuplicate};
  }

 private:
  std::vector<PixelRecord> kept_;  // of the same pixels
};

// Rank r compares the pictures whose pixels have a hash r modulo the number of ranks.
void find_equal(const SampleIndex& index, const DuplicateRules& rules, runtime::World& world,
                const std::filesystem::path& path) {
  const std::string stem = fmt::format("{}-sort-{}", path.native(), world.rank());
  runtime::ExternalSorter<Drop, ByDropped> drops(stem + "-drops", rules.memory / 4);
  {
    runtime::ExternalSorter<PixelRecord, ByPixels> pictures(stem, rules.memory / 2);
    index.for_each([&](std::uint64_t number, const IndexRecord& record) {
      const std::uint64_t share = record.pixel_hash.prefix() % static_cast<std::uint64_t>(world.size());
      if (record.faulty != 0 || share != static_cast<std::uint64_t>(world.rank())) return;
      pictures.add({record.pixel_hash, record.key_hash, {number, record}});
    });
    EqualPictures equal;
    pictures.take_all([&](const PixelRecord& item) {
      if (const auto drop = equal.take(item)) drops.add(*drop);
    });
  }
  std::optional<runtime::RecordWriter<Drop>> all;
  if (world.rank() == 0) all.emplace(path);
  drops.take_all_of_ranks(world, path.native() + "-of", [&](const Drop& drop) { all->add(drop); });
  if (all) all->close();
  world.barrier();
}

// Merges lists; what is packed already shares the fate of its row.
void join(const std::vector<std::filesystem::path>& parts, const SampleIndex& index, const DuplicateRules& rules,
          const std::filesystem::path& path) {
  const std::filesystem::path found_path = path.native() + "-found";
  std::vector<bool> is_lost(index.size());
  {
    runtime::RecordWriter<Drop> all(found_path);
    runtime::merge_sorted_files<Drop>(parts, rules.memory, ByDropped(), [&](const Drop& drop) {
      is_lost[drop.dropped] = true;
      all.add(drop);
    });
    all.close();
  }
  const DropList found(found_path);
  const auto loss_of = [&](std::uint64_t number) {
    std::uint64_t first = 0;
    for (std::uint64_t end = found.size(); end - first > 1;) {
      const std::uint64_t middle = first + (end - first) / 2;
      (found.at(middle).dropped <= number ? first : end) = middle;
    }
    return found.at(first);
  };
  runtime::RecordWriter<Drop> all(path);
  for (runtime::RecordCursor<Drop> cursor(found); cursor.current() != nullptr; cursor.advance()) {
    Drop drop = *cursor.current();
    if (drop.kind == DropKind::kPacked && is_lost[drop.kept]) {
      const Drop of_row = loss_of(drop.kept);
      drop = {drop.dropped, of_row.kept, of_row.kind};
    }
    all.add(drop);
  }
  all.close();
  runtime::remove_leftover(found_path, "the list");
}

}  // namespace

DropList find_drops(const SampleIndex& index, const DuplicateRules& rules, runtime::World& world,
                    const std::filesystem::path& folder) {
  const std::filesystem::path exact = folder / "drops-exact";
  const std::filesystem::path near = folder / "drops-near";
  const std::filesystem::path all = folder / "drops";
  find_equal(index, rules, world, exact);
  find_near_drops(index, DropList(exact), rules, world, near);
  if (world.rank() == 0) join({exact, near}, index, rules, all);
  world.barrier();
  return DropList(all);
}

}  // namespace cskd::packing

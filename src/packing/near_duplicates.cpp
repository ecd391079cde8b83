#include "packing/near_duplicates.h"

#include <algorithm>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "data/near_pairs.h"
#include "data/perceptual_hash.h"
#include "packing/candidate.h"
#include "runtime/error.h"
#include "runtime/external_sort.h"
#include "runtime/shared_files.h"
#include "runtime/work_queue.h"

namespace cskd::packing {
namespace {

constexpr std::uint64_t kMostPairs = 50'000'000;
constexpr std::uint64_t kMostPairsEach = 50;
// Bytes of memory for a picture whose hash is searched: hash, place, candidate, and what find_near_pairs() needs.
constexpr std::uint64_t kSearchMemory = 32;

struct HashRecord {
  std::uint64_t hash = 0;
  Candidate candidate;
};

struct ByHash {
  bool operator()(const HashRecord& a, const HashRecord& b) const {
    return a.hash != b.hash ? a.hash < b.hash : stays_before(a.candidate, b.candidate);
  }
};

// A pair that nearly equals; `better` stays before `worse` and may drop it.
struct NearPair {
  Candidate better;
  Candidate worse;
};

struct BestFirst {
  bool operator()(const NearPair& a, const NearPair& b) const {
    if (a.worse.number != b.worse.number) return stays_before(a.worse, b.worse);
    return stays_before(a.better, b.better);
  }
};

bool goes(const DuplicateRules& rules, const Candidate& better, const Candidate& worse) {
  // Two rows of existing shards were compared when they were packed.
  if (better.packed != 0 && worse.packed != 0) return false;
  return may_drop(better, worse) && (rules.drop_near || better.is_held_out());
}

Drop loss_of(const NearPair& pair) {
  return {pair.worse.number, pair.better.number,
          pair.better.is_held_out() ? DropKind::kNearlyLeaked : DropKind::kNearDuplicate};
}

// Takes pictures by their hash, best first. Of those with one hash, a picture that looks like an earlier one is lost at
// once: only the rest is compared with other hashes, so that a large group costs no square of its size.
class EqualHashes {
 public:
  EqualHashes(const SampleIndex& index, const DuplicateRules& rules) : index_(index), rules_(rules) {}

  std::optional<Drop> take(const HashRecord& item) {
    if (kept_.empty() || item.hash != hash_) {
      kept_.clear();
      hash_ = item.hash;
      kept_.push_back({item.candidate, {}});
      return std::nullopt;
    }
    if (kept_.size() == 1) kept_[0].thumbnail = index_.thumbnail(kept_[0].candidate.number);
    const Kept own{item.candidate, index_.thumbnail(item.candidate.number)};
    const auto better = std::find_if(kept_.begin(), kept_.end(), [&](const Kept& other) {
      return goes(rules_, other.candidate, own.candidate) && data::are_alike(other.thumbnail, own.thumbnail);
    });
    if (better != kept_.end()) return loss_of({better->candidate, own.candidate});
    kept_.push_back(own);
    return std::nullopt;
  }

 private:
  struct Kept {
    Candidate candidate;
    shards::Thumbnail thumbnail{};  // read when there are two
  };

  const SampleIndex& index_;
  const DuplicateRules& rules_;
  std::uint64_t hash_ = 0;
  std::vector<Kept> kept_;
};

// Some of the pictures, by hash.
struct Part {
  std::vector<std::uint64_t> hashes;     // each once in a row
  std::vector<std::uint32_t> starts{0};  // where its candidates begin; and the end
  std::vector<Candidate> candidates;

  void add(const runtime::RecordFile<HashRecord>& pictures, std::uint64_t first, std::uint64_t count) {
    const std::size_t hashes_before = hashes.size();
    candidates.reserve(candidates.size() + count);
    runtime::RecordCursor<HashRecord> cursor(pictures, first);
    for (std::uint64_t i = 0; i < count; ++i, cursor.advance()) {
      const HashRecord& picture = *cursor.current();
      candidates.push_back(picture.candidate);
      if (hashes.size() > hashes_before && hashes.back() == picture.hash) {
        ++starts.back();
      } else {
        hashes.push_back(picture.hash);
        starts.push_back(static_cast<std::uint32_t>(candidates.size()));
      }
    }
  }
};

class NearSearcher {
 public:
  NearSearcher(const SampleIndex& index, const DuplicateRules& rules, runtime::World& world,
               const std::filesystem::path& path)
      : index_(index),
        rules_(rules),
        world_(world),
        path_(path),
        losses_(beside("drops"), rules.memory / 4),
        pairs_(beside(fmt::format("sort-pairs-{}", world.rank())), rules.memory / 4) {}

  void run(const DropList& exact) {
    if (world_.rank() == 0) collect(exact);
    world_.barrier();
    {
      const runtime::RecordFile<HashRecord> left(beside("left"));
      find_pairs(left);
    }
    choose();
    if (world_.rank() == 0) {
      losses_.take_all_to(path_);
      runtime::remove_leftover(beside("left"), "the list");
    }
    world_.barrier();
  }

 private:
  std::filesystem::path beside(const std::string& name) const { return path_.native() + "-" + name; }

  // Writes the pictures that stayed so far, by hash.
  void collect(const DropList& exact) {
    runtime::ExternalSorter<HashRecord, ByHash> pictures(beside("sort"), rules_.memory / 2);
    DropCursor cursor(exact);
    index_.for_each([&](std::uint64_t number, const IndexRecord& record) {
      if (record.faulty != 0 || cursor.of(number) != nullptr) return;
      pictures.add({record.phash, {number, record}});
    });
    runtime::RecordWriter<HashRecord> left(beside("left"));
    EqualHashes equal(index_, rules_);
    pictures.take_all([&](const HashRecord& picture) {
      if (const auto drop = equal.take(picture)) {
        losses_.add(*drop);
      } else {
        left.add(picture);
      }
    });
    left.close();
  }

  void find_pairs(const runtime::RecordFile<HashRecord>& left) {
    const std::uint64_t at_once = std::max<std::uint64_t>(2, rules_.memory / kSearchMemory);
    const auto rank = static_cast<std::uint32_t>(world_.rank());
    const auto ranks = static_cast<std::uint32_t>(world_.size());
    if (left.size() <= at_once) {
      Part all;
      all.add(left, 0, left.size());
      search(all, {.slice = rank, .slices = ranks}, [](std::uint32_t, std::uint32_t) { return true; });
      return;
    }
    // Every two parts, and each part alone.
    const std::uint64_t size = at_once / 2;
    const std::uint64_t parts = (left.size() + size - 1) / size;
    const auto total = static_cast<std::int64_t>(parts * (parts + 1) / 2);
    runtime::WorkQueue queue(world_, total);
    while (const auto task = queue.next()) {
      std::uint64_t first = 0;
      auto second = static_cast<std::uint64_t>(*task);
      for (; second > first; ++first) second -= first + 1;
      search_two(left, size, second, first);
    }
    queue.finish("near duplicates were looked for");
  }

  // REQUIRES: a <= b
  void search_two(const runtime::RecordFile<HashRecord>& left, std::uint64_t size, std::uint64_t a, std::uint64_t b) {
    const auto add = [&](Part& part, std::uint64_t number) {
      part.add(left, number * size, std::min(size, left.size() - number * size));
    };
    Part part;
    add(part, a);
    const auto border = static_cast<std::uint32_t>(part.hashes.size());
    if (a == b) return search(part, {}, [](std::uint32_t, std::uint32_t) { return true; });
    add(part, b);
    search(part, {}, [border](std::uint32_t i, std::uint32_t j) { return (i < border) != (j < border); });
  }

  template <typename IsWanted>
  void search(const Part& part, data::NearSearch search, const IsWanted& is_wanted) {
    search.distance = rules_.distance;
    search.threads = rules_.threads;
    data::find_near_pairs(part.hashes, search, [&](std::uint32_t a, std::uint32_t b) {
      if (!is_wanted(a, b)) return;
      for (std::uint32_t i = part.starts[a]; i < part.starts[a + 1]; ++i) {
        for (std::uint32_t j = part.starts[b]; j < part.starts[b + 1]; ++j)
          take_pair(part.candidates[i], part.candidates[j]);
      }
    });
  }

  void take_pair(const Candidate& a, const Candidate& b) {
    const bool in_order = stays_before(a, b);
    const NearPair pair{in_order ? a : b, in_order ? b : a};
    if (!goes(rules_, pair.better, pair.worse)) return;
    if (!data::are_alike(index_.thumbnail(pair.better.number), index_.thumbnail(pair.worse.number))) return;
    const std::uint64_t most = kMostPairs + kMostPairsEach * index_.size();
    if (++found_ > most) {
      throw runtime::DataError(
          fmt::format("more than {} pairs of pictures nearly equal each other (frames of films?): lower "
                      "packing.near_duplicate_distance, or set packing.drop_near_duplicates = false",
                      most));
    }
    pairs_.add(pair);
  }

  // On rank 0, best first: whether the better of a pair stays is known when the pair's turn comes.
  void choose() {
    std::vector<bool> gone(world_.rank() == 0 ? index_.size() : 0);
    pairs_.take_all_of_ranks(world_, beside("pairs"), [&](const NearPair& pair) {
      if (gone[pair.worse.number] || gone[pair.better.number]) return;
      gone[pair.worse.number] = true;
      losses_.add(loss_of(pair));
    });
  }

  const SampleIndex& index_;
  const DuplicateRules& rules_;
  runtime::World& world_;
  const std::filesystem::path& path_;
  runtime::ExternalSorter<Drop, ByDropped> losses_;  // rank 0
  runtime::ExternalSorter<NearPair, BestFirst> pairs_;
  std::uint64_t found_ = 0;
};

}  // namespace

void find_near_drops(const SampleIndex& index, const DropList& exact, const DuplicateRules& rules,
                     runtime::World& world, const std::filesystem::path& path) {
  NearSearcher(index, rules, world, path).run(exact);
}

}  // namespace cskd::packing

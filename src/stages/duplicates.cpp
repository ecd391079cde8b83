#include "stages/duplicates.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <span>
#include <string>
#include <tuple>
#include <unordered_set>

#include <fmt/format.h>

#include "data/near_pairs.h"
#include "data/perceptual_hash.h"
#include "runtime/error.h"

namespace cskd::stages {
namespace {

using shards::Split;

constexpr std::uint64_t kPictures = std::numeric_limits<std::uint32_t>::max();
constexpr std::uint64_t kPicturesAtOnce = 1ULL << 23;  // of exact comparison
constexpr std::size_t kMostPairs = 50'000'000;

// What decides who stays.
struct Candidate {
  std::uint32_t number = 0;
  Split split = Split::kUnlabelled;
  std::uint8_t packed = 0;
};

bool is_held_out(Split split) { return split == Split::kTest || split == Split::kValidation; }

// Packed rows come first in the index, and so have the lower numbers.
bool stays_before(const Candidate& a, const Candidate& b) {
  return std::tuple(-static_cast<int>(a.split), a.number) < std::tuple(-static_cast<int>(b.split), b.number);
}

// Whether `worse` may go because of `better`. REQUIRES: stays_before(better, worse)
bool may_drop(const Candidate& better, const Candidate& worse) {
  if (worse.split == Split::kTest) return false;
  return worse.split != Split::kValidation || better.split == Split::kTest;
}

template <typename Item>
std::vector<Item> gather(const std::vector<Item>& own, runtime::World& world) {
  std::vector<Item> all;
  const std::string text(reinterpret_cast<const char*>(own.data()), own.size() * sizeof(Item));
  for (const std::string& part : world.all_gather(text)) {
    const std::size_t before = all.size();
    all.resize(before + part.size() / sizeof(Item));
    std::memcpy(all.data() + before, part.data(), part.size());
  }
  return all;
}

struct ExactItem {
  runtime::ContentHash pixel_hash;
  std::uint64_t key_hash = 0;
  Candidate candidate;
};

// Losses within pictures of the same pixels, best first.
void take_equal(std::span<const ExactItem> equal, std::vector<Loss>& losses) {
  std::vector<const ExactItem*> kept;
  for (const ExactItem& item : equal) {
    const auto same = std::find_if(kept.begin(), kept.end(), [&](const ExactItem* other) {
      return other->candidate.packed != 0 && item.candidate.packed == 0 && other->key_hash == item.key_hash &&
             other->candidate.split == item.candidate.split;
    });
    const auto better = std::find_if(
        kept.begin(), kept.end(), [&](const ExactItem* other) { return may_drop(other->candidate, item.candidate); });
    if (same != kept.end()) {
      losses.push_back({item.candidate.number, (*same)->candidate.number, LossKind::kPacked});
    } else if (better != kept.end()) {
      const bool leaks = is_held_out((*better)->candidate.split);
      losses.push_back(
          {item.candidate.number, (*better)->candidate.number, leaks ? LossKind::kLeaked : LossKind::kDuplicate});
    } else {
      kept.push_back(&item);
    }
  }
}

// Pictures whose hash begins with `pass` of `passes` equal parts of all hashes.
void find_equal(const SampleIndex& index, std::uint64_t pass, std::uint64_t passes, std::vector<Loss>& losses) {
  std::vector<ExactItem> items;
  index.for_each([&](std::uint64_t number, const IndexRecord& record) {
    if (record.faulty != 0 || record.pixel_hash.prefix() % passes != pass) return;
    items.push_back(
        {record.pixel_hash, record.key_hash, {static_cast<std::uint32_t>(number), record.split, record.packed}});
  });
  std::sort(items.begin(), items.end(), [](const ExactItem& a, const ExactItem& b) {
    return a.pixel_hash != b.pixel_hash ? a.pixel_hash < b.pixel_hash : stays_before(a.candidate, b.candidate);
  });
  for (auto first = items.begin(); first != items.end();) {
    const auto end =
        std::find_if(first, items.end(), [&](const ExactItem& item) { return item.pixel_hash != first->pixel_hash; });
    if (end - first > 1) take_equal({first, end}, losses);
    first = end;
  }
}

struct Hashed {
  std::uint64_t hash = 0;
  Candidate candidate;
};

// A pair that nearly equals; `better` stays before `worse` and may drop it.
struct NearPair {
  Candidate better;
  Candidate worse;
};

class NearSearcher {
 public:
  NearSearcher(const SampleIndex& index, const DuplicateRules& rules, runtime::World& world)
      : index_(index), rules_(rules), world_(world) {}

  std::vector<Loss> losses(const std::vector<Loss>& exact) {
    collect(exact);
    reduce_equal_hashes();
    return choose(pairs());
  }

 private:
  // Pictures that stayed so far, by hash, best first.
  void collect(const std::vector<Loss>& exact) {
    LossCursor cursor(exact);
    index_.for_each([&](std::uint64_t number, const IndexRecord& record) {
      if (record.faulty != 0 || cursor.of(number) != nullptr) return;
      left_.push_back({record.phash, {static_cast<std::uint32_t>(number), record.split, record.packed}});
    });
    std::sort(left_.begin(), left_.end(), [](const Hashed& a, const Hashed& b) {
      return a.hash != b.hash ? a.hash < b.hash : stays_before(a.candidate, b.candidate);
    });
  }

  // Of pictures with one hash, those that look like an earlier one go at once: only those that remain are compared with
  // other hashes, so that a large group costs no square of its size.
  void reduce_equal_hashes() {
    std::vector<Hashed> rest;
    for (auto first = left_.begin(); first != left_.end();) {
      const auto end = std::find_if(first, left_.end(), [&](const Hashed& item) { return item.hash != first->hash; });
      hashes_.push_back(first->hash);
      starts_.push_back(static_cast<std::uint32_t>(rest.size()));
      if (end - first == 1) {
        rest.push_back(*first);
      } else {
        reduce_group({first, end}, rest);
      }
      first = end;
    }
    left_ = std::move(rest);
    left_.shrink_to_fit();
    starts_.push_back(static_cast<std::uint32_t>(left_.size()));
  }

  void reduce_group(std::span<const Hashed> group, std::vector<Hashed>& rest) {
    std::vector<std::pair<Candidate, shards::Thumbnail>> kept;
    for (const Hashed& item : group) {
      const shards::Thumbnail thumbnail = index_.thumbnail(item.candidate.number);
      const auto better = std::find_if(kept.begin(), kept.end(), [&](const auto& other) {
        return goes(other.first, item.candidate) && data::are_alike(other.second, thumbnail);
      });
      if (better != kept.end()) {
        add_loss({better->first, item.candidate});
      } else {
        kept.emplace_back(item.candidate, thumbnail);
        rest.push_back(item);
      }
    }
  }

  bool goes(const Candidate& better, const Candidate& worse) const {
    // Two rows of existing shards were compared when they were packed.
    if (better.packed != 0 && worse.packed != 0) return false;
    return may_drop(better, worse) && (rules_.drop_near || is_held_out(better.split));
  }

  void add_loss(const NearPair& pair) {
    losses_.push_back({pair.worse.number, pair.better.number,
                       is_held_out(pair.better.split) ? LossKind::kNearlyLeaked : LossKind::kNearDuplicate});
  }

  std::vector<NearPair> pairs() {
    std::vector<NearPair> found;
    data::NearSearch search{.distance = rules_.distance,
                            .threads = rules_.threads,
                            .slice = static_cast<std::uint32_t>(world_.rank()),
                            .slices = static_cast<std::uint32_t>(world_.size())};
    data::find_near_pairs(hashes_, search, [&](std::uint32_t a, std::uint32_t b) {
      for (std::uint32_t i = starts_[a]; i < starts_[a + 1]; ++i) {
        for (std::uint32_t j = starts_[b]; j < starts_[b + 1]; ++j) take_pair(left_[i], left_[j], found);
      }
    });
    return gather(found, world_);
  }

  void take_pair(const Hashed& a, const Hashed& b, std::vector<NearPair>& found) const {
    const bool in_order = stays_before(a.candidate, b.candidate);
    const NearPair pair{in_order ? a.candidate : b.candidate, in_order ? b.candidate : a.candidate};
    if (!goes(pair.better, pair.worse)) return;
    if (!data::are_alike(index_.thumbnail(pair.better.number), index_.thumbnail(pair.worse.number))) return;
    if (found.size() == kMostPairs) {
      throw runtime::DataError(
          fmt::format("more than {} pairs of pictures nearly equal each other (frames of films?): lower "
                      "packing.near_duplicate_distance, or set packing.drop_near_duplicates = false",
                      kMostPairs));
    }
    found.push_back(pair);
  }

  // Best first: whether the better of a pair stays is known when the pair's turn comes.
  std::vector<Loss> choose(std::vector<NearPair> pairs) {
    std::sort(pairs.begin(), pairs.end(), [](const NearPair& a, const NearPair& b) {
      if (a.worse.number != b.worse.number) return stays_before(a.worse, b.worse);
      return stays_before(a.better, b.better);
    });
    std::unordered_set<std::uint32_t> gone;
    for (const NearPair& pair : pairs) {
      if (gone.contains(pair.worse.number) || gone.contains(pair.better.number)) continue;
      gone.insert(pair.worse.number);
      add_loss(pair);
    }
    return std::move(losses_);
  }

  const SampleIndex& index_;
  const DuplicateRules& rules_;
  runtime::World& world_;
  std::vector<Hashed> left_;
  std::vector<std::uint64_t> hashes_;  // each once
  std::vector<std::uint32_t> starts_;  // where its pictures begin in left_
  std::vector<Loss> losses_;
};

}  // namespace

LossCursor::LossCursor(const std::vector<Loss>& losses, std::uint64_t first)
    : next_(std::lower_bound(losses.begin(), losses.end(), first,
                             [](const Loss& loss, std::uint64_t number) { return loss.loser < number; })),
      end_(losses.end()) {}

const Loss* LossCursor::of(std::uint64_t number) {
  while (next_ != end_ && next_->loser < number) ++next_;
  return next_ != end_ && next_->loser == number ? &*next_ : nullptr;
}

std::vector<Loss> find_losses(const SampleIndex& index, const DuplicateRules& rules, runtime::World& world) {
  if (index.size() > kPictures) {
    throw runtime::DataError(fmt::format("{} pictures, at most {} are packed together", index.size(), kPictures));
  }
  const std::uint64_t passes = index.size() / kPicturesAtOnce + 1;
  std::vector<Loss> own;
  for (std::uint64_t pass = 0; pass < passes; ++pass) {
    if (pass % static_cast<std::uint64_t>(world.size()) == static_cast<std::uint64_t>(world.rank()))
      find_equal(index, pass, passes, own);
  }
  const auto by_loser = [](const Loss& a, const Loss& b) { return a.loser < b.loser; };
  std::vector<Loss> losses = gather(own, world);
  std::sort(losses.begin(), losses.end(), by_loser);
  const std::vector<Loss> near = NearSearcher(index, rules, world).losses(losses);
  losses.insert(losses.end(), near.begin(), near.end());
  std::sort(losses.begin(), losses.end(), by_loser);
  // What is packed already shares the fate of its row.
  const std::vector<Loss> all = losses;
  for (Loss& loss : losses) {
    if (loss.kind != LossKind::kPacked) continue;
    const auto row = std::lower_bound(all.begin(), all.end(), Loss{.loser = loss.winner}, by_loser);
    if (row != all.end() && row->loser == loss.winner) loss = {loss.loser, row->winner, row->kind};
  }
  return losses;
}

}  // namespace cskd::stages

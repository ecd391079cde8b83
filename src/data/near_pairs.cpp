#include "data/near_pairs.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>
#include <limits>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "runtime/check.h"
#include "runtime/threads.h"

namespace cskd::data {
namespace {

constexpr int kHashBits = 64;
// More buckets than this cannot be written side by side from a core's caches.
constexpr int kMostBlockBits = 11;
constexpr int kMostAgreeing = 12;

// Nanoseconds of one core, as measured; only their ratios matter.
constexpr double kSpread = 6.0;  // a hash into a bucket
constexpr double kPerBucket = 10.0;
constexpr double kComparison = 0.6;

// Buckets of so few are compared without a thought.
constexpr std::uint32_t kAFew = 16;

// Whether comparing a bucket takes no longer than spreading it over the values of `choices` blocks, one after another.
bool is_compared_at_once(double hashes, double choices, double values) {
  if (hashes <= kAFew) return true;
  return hashes * hashes / 2 * kComparison <= choices * (hashes * kSpread + values * kPerBucket);
}

// The sum of Note [Near pairs].
double search_cost(double hashes, int distance, int blocks) {
  const int agreeing = blocks - distance;
  // On average over the blocks, some of which have one bit more.
  const double values = std::ldexp(1 + kHashBits % blocks / static_cast<double>(blocks), kHashBits / blocks);
  double bucket = hashes;
  double ways = 1;
  double cost = 0;
  for (int depth = 0;; ++depth) {
    const double choices = static_cast<double>(distance + depth + 1) / (depth + 1);
    if (depth == agreeing || (depth > 0 && is_compared_at_once(bucket, choices, values))) {
      return cost + ways * hashes * bucket / 2 * kComparison;
    }
    ways *= choices;
    cost += ways * (hashes * kSpread + hashes / bucket * values * kPerBucket);
    bucket /= values;
  }
}

struct Block {
  int shift = 0;
  std::uint32_t last = 0;  // its largest value

  std::uint32_t of(std::uint64_t hash) const { return static_cast<std::uint32_t>(hash >> shift) & last; }
  std::uint32_t values() const { return last + 1; }
};

// The first ones are the widest, by one bit at most.
std::vector<Block> cut(int count) {
  std::vector<Block> blocks;
  int shift = 0;
  for (int i = 0; i < count; ++i) {
    const int bits = kHashBits / count + (i < kHashBits % count ? 1 : 0);
    blocks.push_back({shift, (1U << bits) - 1});
    shift += bits;
  }
  return blocks;
}

// Hashes and their positions in the input, apart so that comparisons run through hashes alone.
struct Columns {
  std::uint64_t* hashes = nullptr;
  std::uint32_t* positions = nullptr;

  Columns from(std::uint32_t start) const { return {hashes + start, positions + start}; }
  void put(std::uint32_t place, std::uint64_t hash, std::uint32_t position) const {
    hashes[place] = hash;
    positions[place] = position;
  }
};

class ColumnStore {
 public:
  // What was kept before is lost.
  Columns room_for(std::size_t size) {
    if (size > hashes_.size()) {
      hashes_ = {};  // gone before there is more
      positions_ = {};
      hashes_.resize(size);
      positions_.resize(size);
    }
    return {hashes_.data(), positions_.data()};
  }

 private:
  std::vector<std::uint64_t> hashes_;
  std::vector<std::uint32_t> positions_;
};

// Where all threads hand over what they found.
struct Outlet {
  const TakePair& take;
  std::mutex mutex;
};

// From the root to a node: `taken` agreeing blocks, the highest of them `last`; bit i of left_out stands for a block i
// below it that was not taken.
struct Way {
  int taken = 0;
  int last = -1;
  std::uint32_t left_out = 0;

  Way with(int block) const { return {taken + 1, block, left_out | ((1U << block) - (1U << (last + 1)))}; }
};

// The tree below the root's edges, for one thread.
class Descent {
 public:
  Descent(const std::vector<Block>& blocks, int distance, Outlet& outlet)
      : blocks_(blocks),
        distance_(distance),
        agreeing_(static_cast<int>(blocks.size()) - distance),
        outlet_(outlet),
        ends_(static_cast<std::size_t>(agreeing_), std::vector<std::uint32_t>(blocks.front().values())) {}

  // The highest block that may be taken next: enough must be left for the rest.
  int highest(const Way& way) const { return distance_ + way.taken; }

  bool is_compared(std::uint32_t size, const Way& way) const {
    return way.taken == agreeing_ || is_compared_at_once(size, highest(way) - way.last, blocks_.back().values());
  }

  // Compares the bucket, which stays as it is, or follows the edge of `block` from there.
  void follow(Columns bucket, std::uint32_t size, const Way& way, int block) {
    if (is_settled(bucket, size, way.with(block))) return;
    if (is_compared(size, way)) return compare_buckets(bucket, {&size, 1}, size, way);
    const Columns children = children_.room_for(size);
    spread(bucket, children, size, way, block);
    visit_children(children, spare_.room_for(size), way, block);
  }

  void hand_over() {
    const std::lock_guard lock(outlet_.mutex);
    for (const auto& [first, second] : found_) outlet_.take(first, second);
    found_.clear();
  }

 private:
  // Whether the difference reaches into all of these blocks.
  bool is_in_all(std::uint64_t difference, std::uint32_t blocks) const {
    for (; blocks != 0; blocks &= blocks - 1) {
      if (blocks_[static_cast<std::size_t>(std::countr_zero(blocks))].of(difference) == 0) return false;
    }
    return true;
  }

  // Whether no pair of the bucket can belong here, because all agree in a block that was left out.
  bool is_settled(Columns bucket, std::uint32_t size, const Way& way) const {
    std::uint64_t varying = 0;
    for (std::uint32_t i = 1; i < size; ++i) varying |= bucket.hashes[0] ^ bucket.hashes[i];
    return !is_in_all(varying, way.left_out);
  }

  std::span<std::uint32_t> ends_below(const Way& way, const Block& block) {
    return {ends_[static_cast<std::size_t>(way.taken)].data(), block.values()};
  }

  void spread(Columns from, Columns to, std::uint32_t size, const Way& way, int block) {
    const Block by = blocks_[static_cast<std::size_t>(block)];
    const std::span<std::uint32_t> places = ends_below(way, by);
    std::fill(places.begin(), places.end(), 0);
    for (std::uint32_t i = 0; i < size; ++i) ++places[by.of(from.hashes[i])];
    std::uint32_t sum = 0;
    for (std::uint32_t& place : places) sum += std::exchange(place, sum);
    for (std::uint32_t i = 0; i < size; ++i) {
      to.put(places[by.of(from.hashes[i])]++, from.hashes[i], from.positions[i]);
    }
  }

  void visit_children(Columns children, Columns spare, const Way& way, int block) {
    const Way next = way.with(block);
    const std::span<const std::uint32_t> ends = ends_below(way, blocks_[static_cast<std::size_t>(block)]);
    compare_buckets(children, ends, kAFew, next);
    std::uint32_t start = 0;
    for (const std::uint32_t end : ends) {
      if (end - start > kAFew) visit(children.from(start), spare.from(start), end - start, next);
      start = end;
    }
  }

  // Leaves the bucket in another order.
  void visit(Columns bucket, Columns spare, std::uint32_t size, const Way& way) {
    if (is_settled(bucket, size, way)) return;
    if (is_compared(size, way)) return compare_buckets(bucket, {&size, 1}, size, way);
    Columns now = bucket;
    for (int block = way.last + 1; block <= highest(way); ++block) {
      spread(now, spare, size, way, block);
      std::swap(now, spare);
      visit_children(now, spare, way, block);
    }
    if (now.hashes == bucket.hashes) return;
    std::copy_n(now.hashes, size, bucket.hashes);
    std::copy_n(now.positions, size, bucket.positions);
  }

  void compare_buckets(Columns buckets, std::span<const std::uint32_t> ends, std::uint32_t most, const Way& way) {
    compared_ = buckets;
    left_out_ = way.left_out;
    compare_({buckets.hashes, ends}, most, distance_, keep_);
  }

  void keep(std::uint32_t first, std::uint32_t second) {
    if (!is_in_all(compared_.hashes[first] ^ compared_.hashes[second], left_out_)) return;
    found_.emplace_back(std::minmax(compared_.positions[first], compared_.positions[second]));
    if (found_.size() == kHandedOverAtOnce) hand_over();
  }

  static constexpr std::size_t kHandedOverAtOnce = 4096;

  const std::vector<Block>& blocks_;
  int distance_;
  int agreeing_;
  Outlet& outlet_;
  std::vector<std::vector<std::uint32_t>> ends_;  // of the children at [depth][value]
  ColumnStore children_;
  ColumnStore spare_;
  std::vector<std::pair<std::uint32_t, std::uint32_t>> found_;
  CompareBuckets compare_ = fastest_compare();
  // What compare_ is comparing, and what it calls.
  Columns compared_;
  std::uint32_t left_out_ = 0;
  TakePair keep_ = [this](std::uint32_t first, std::uint32_t second) { keep(first, second); };
};

// What a thread does at a time: follows one edge from the node that the root's last edge leads to by `value`.
struct Task {
  std::uint32_t value = 0;
  int next = 0;
};

// The root, whose edges are followed one after another, each by all threads.
class Search {
 public:
  Search(std::span<const std::uint64_t> hashes, const NearSearch& search, const TakePair& take)
      : hashes_(hashes),
        search_(search),
        blocks_(cut(near_blocks(hashes.size(), search.distance))),
        places_(static_cast<std::size_t>(search.threads)),
        outlet_{take, {}} {
    for (int i = 0; i < search.threads; ++i) {
      descents_.push_back(std::make_unique<Descent>(blocks_, search.distance, outlet_));
    }
  }

  void run() {
    for (int block = 0; block <= search_.distance; ++block) {
      const Block by = blocks_[static_cast<std::size_t>(block)];
      const Way way = Way{}.with(block);
      count(by);
      make_tasks(way);
      if (tasks_.empty()) continue;
      spread(by);
      do_tasks(way);
    }
    for (const auto& descent : descents_) descent->hand_over();
  }

 private:
  std::span<const std::uint64_t> share_of(int thread) const {
    const std::size_t threads = places_.size();
    const std::size_t begin = hashes_.size() * static_cast<std::size_t>(thread) / threads;
    const std::size_t end = hashes_.size() * (static_cast<std::size_t>(thread) + 1) / threads;
    return hashes_.subspan(begin, end - begin);
  }

  // How many of each value there are, in each thread's share and in all.
  void count(const Block& by) {
    runtime::run_on_threads(search_.threads, [&](int thread) {
      std::vector<std::uint32_t> counts(by.values());
      for (const std::uint64_t hash : share_of(thread)) ++counts[by.of(hash)];
      places_[static_cast<std::size_t>(thread)] = std::move(counts);
    });
    sizes_.assign(by.values(), 0);
    for (const std::vector<std::uint32_t>& counts : places_) {
      for (std::uint32_t value = 0; value < by.values(); ++value) sizes_[value] += counts[value];
    }
  }

  // Slices take turns along the values of a choice, and are shifted by one from choice to choice, so that a large
  // bucket's choices are dealt out too.
  bool is_mine(const Way& way, int next, std::uint32_t value) const {
    const int choice = way.last * (search_.distance + 1) + next;
    const auto shifted = static_cast<std::uint32_t>(choice) * (blocks_.front().values() + 1) + value;
    return shifted % search_.slices == search_.slice;
  }

  // This slice's, large buckets first.
  void make_tasks(const Way& way) {
    tasks_.clear();
    for (std::uint32_t value = 0; value < sizes_.size(); ++value) {
      if (sizes_[value] < 2) continue;
      const bool is_compared = descents_.front()->is_compared(sizes_[value], way);
      const int highest = is_compared ? way.last + 1 : descents_.front()->highest(way);
      for (int next = way.last + 1; next <= highest; ++next) {
        if (is_mine(way, next, value)) tasks_.push_back({value, next});
      }
    }
    std::stable_sort(tasks_.begin(), tasks_.end(),
                     [&](const Task& a, const Task& b) { return sizes_[a.value] > sizes_[b.value]; });
  }

  // Makes those buckets that the tasks look at.
  void spread(const Block& by) {
    std::vector<char> is_wanted(by.values());
    for (const Task& task : tasks_) is_wanted[task.value] = 1;
    starts_.resize(by.values());
    std::uint32_t sum = 0;
    for (std::uint32_t value = 0; value < by.values(); ++value) {
      starts_[value] = sum;
      for (std::vector<std::uint32_t>& places : places_) {
        const std::uint32_t size = std::exchange(places[value], sum);
        if (is_wanted[value] != 0) sum += size;
      }
    }
    buckets_ = store_.room_for(sum);
    runtime::run_on_threads(search_.threads, [&](int thread) {
      std::vector<std::uint32_t>& places = places_[static_cast<std::size_t>(thread)];
      const std::span<const std::uint64_t> share = share_of(thread);
      auto position = static_cast<std::uint32_t>(share.data() - hashes_.data());
      for (const std::uint64_t hash : share) {
        const std::uint32_t value = by.of(hash);
        if (is_wanted[value] != 0) buckets_.put(places[value]++, hash, position);
        ++position;
      }
    });
  }

  void do_tasks(const Way& way) {
    std::atomic<std::size_t> next = 0;
    runtime::run_on_threads(search_.threads, [&](int thread) {
      Descent& descent = *descents_[static_cast<std::size_t>(thread)];
      try {
        for (std::size_t i = next++; i < tasks_.size(); i = next++) {
          const auto [value, direction] = tasks_[i];
          descent.follow(buckets_.from(starts_[value]), sizes_[value], way, direction);
        }
      } catch (...) {
        next = tasks_.size();  // ends the other threads
        throw;
      }
    });
  }

  std::span<const std::uint64_t> hashes_;
  NearSearch search_;
  std::vector<Block> blocks_;
  std::vector<std::vector<std::uint32_t>> places_;  // [thread][value]: first counts, then where the next one goes
  std::vector<std::uint32_t> sizes_;                // [value]
  std::vector<std::uint32_t> starts_;               // [value]
  std::vector<Task> tasks_;
  ColumnStore store_;
  Columns buckets_;
  Outlet outlet_;
  std::vector<std::unique_ptr<Descent>> descents_;
};

}  // namespace

void find_near_pairs(std::span<const std::uint64_t> hashes, const NearSearch& search, const TakePair& take) {
  CSKD_CHECK(hashes.size() <= std::numeric_limits<std::uint32_t>::max(), "{} hashes", hashes.size());
  CSKD_CHECK(search.distance >= 0 && search.distance <= kLargestNearDistance, "distance {}", search.distance);
  CSKD_CHECK(search.threads >= 1, "{} threads", search.threads);
  CSKD_CHECK(search.slice < search.slices, "slice {} of {}", search.slice, search.slices);
  if (hashes.size() > 1) Search(hashes, search, take).run();
}

int near_blocks(std::uint64_t hashes, int distance) {
  CSKD_CHECK(distance >= 0 && distance <= kLargestNearDistance, "distance {}", distance);
  int best = 0;
  double least = std::numeric_limits<double>::infinity();
  for (int blocks = std::max(distance + 2, kHashBits / kMostBlockBits + 1); blocks <= distance + kMostAgreeing;
       ++blocks) {
    const double cost = search_cost(static_cast<double>(hashes), distance, blocks);
    if (cost < least) {
      least = cost;
      best = blocks;
    }
  }
  return best;
}

}  // namespace cskd::data

// In which order training sees its samples: a pure function of (seed, stream, position), the same on every rank and
// after any resume.
//
// Note [Order of an epoch]
// Samples come in groups (sources), and those in blocks (shards). In an epoch a group of n samples and weight w is used
// round(w * n) times: with weight 1 each sample once, with weight 2 each twice, with weight 1/2 one half in one epoch
// and the other half in the next, because a group has rounds of its own, in each of which every sample comes once.
//
// An epoch is cut into the fewest windows of at most `window` samples, and one more for each group (K windows). Window
// k takes from each group of u uses those from
// floor(k * u / K) to floor((k + 1) * u / K), so that every window holds the sources in their proportions, to one
// sample. A keyed permutation mixes the window. So batches are mixed like those of a full shuffle of the window, while
// a window reads from no more blocks than its samples fill, and one or two more for each group: what was read ahead of
// a shard, or lies in the page cache, is used before it is lost. A corpus smaller than a window is shuffled as a whole.
//
// A round of a group goes through its blocks in a shuffled order, and within a block through i -> (a * i + b) mod size
// with a and b drawn anew. Shards are fair samples of their source, shuffled when they were packed (Note [Order in
// shards]).
//
// Memory is that for the list of blocks; none is needed for samples.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "data/permutation.h"

namespace cskd::data {

struct SampleGroup {
  double weight = 1;
  std::vector<std::uint64_t> blocks;  // samples of each, none of them 0
};

struct SampleUse {
  std::uint64_t sample = 0;
  std::uint64_t round = 0;  // of its group: how often the sample was used before

  bool operator==(const SampleUse&) const = default;
};

constexpr std::uint64_t kOrderWindow = 1ULL << 18;

// An endless sequence of the samples of all groups, numbered 0.. in the order of groups and blocks. Any thread.
class SampleOrder {
 public:
  // Groups of weight 0 are not used. Throws UsageError when nothing is left. REQUIRES: window >= 1; weights are finite
  // and not negative; fewer than 2^16 groups; fewer than 2^48 uses of a group in an epoch
  SampleOrder(std::uint64_t seed, std::uint32_t stream, std::vector<SampleGroup> groups,
              std::uint64_t window = kOrderWindow);
  ~SampleOrder();
  SampleOrder(const SampleOrder&) = delete;
  SampleOrder& operator=(const SampleOrder&) = delete;

  std::uint64_t size() const noexcept { return size_; }  // positions of an epoch
  std::uint64_t epoch(std::uint64_t position) const noexcept { return position / size_; }
  // What comes at `count` consecutive positions of the sequence.
  std::vector<SampleUse> at(std::uint64_t position, std::uint64_t count) const;

 private:
  struct Group;
  struct Round;
  struct Window;

  // First position of a window in its epoch.
  std::uint64_t start_of(std::uint64_t window) const;
  std::uint64_t window_of(std::uint64_t place) const;
  void enter(std::uint64_t epoch, std::uint64_t place) const;
  SampleUse use_of(Group& group, std::uint64_t use) const;
  Round make_round(const Group& group, std::uint64_t number) const;

  std::uint64_t seed_;
  std::uint32_t stream_;
  std::uint64_t size_ = 0;
  std::uint64_t windows_ = 1;
  mutable std::vector<Group> groups_;
  mutable std::unique_ptr<Window> window_;  // the last one asked for
  mutable std::mutex mutex_;
};

}  // namespace cskd::data

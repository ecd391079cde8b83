#include "data/sample_order.h"

#include <algorithm>
#include <cmath>
#include <deque>
#include <numeric>
#include <utility>

#include "runtime/check.h"
#include "runtime/error.h"
#include "runtime/philox.h"

namespace cskd::data {
namespace {

// Parts of a caller's stream of random numbers.
constexpr std::uint32_t kOfWindows = 1U << 16;
constexpr std::uint32_t kOfRounds = 2U << 16;

// Of one group, the rounds that are kept: a window spans two of them at most, unless its group is tiny.
constexpr std::size_t kRoundsKept = 2;

// floor(part * uses / parts)
std::uint64_t share(std::uint64_t part, std::uint64_t uses, std::uint64_t parts) {
  __extension__ using Wide = unsigned __int128;
  return static_cast<std::uint64_t>(Wide{part} * uses / parts);
}

}  // namespace

// One pass through a group.
struct SampleOrder::Round {
  struct Block {
    std::uint64_t end = 0;    // uses of the round up to the end of the block
    std::uint64_t first = 0;  // number of the block's first sample
    std::uint64_t size = 0;
    std::uint64_t factor = 1;
    std::uint64_t shift = 0;
  };

  std::uint64_t number = 0;
  std::vector<Block> blocks;  // in the order of the round
};

struct SampleOrder::Group {
  std::uint64_t number = 0;
  std::uint64_t first = 0;  // number of its first sample
  std::uint64_t samples = 0;
  std::uint64_t uses = 0;  // in an epoch
  std::vector<std::uint64_t> blocks;
  std::deque<Round> rounds;  // the last ones asked for, newest first
};

struct SampleOrder::Window {
  std::uint64_t epoch = 0;
  std::uint64_t start = 0;  // in the epoch
  std::uint64_t end = 0;
  Permutation mix;
  std::vector<std::uint64_t> ends;  // of the groups' shares, in the unmixed window
  std::vector<std::uint64_t> uses;  // of each group: its first one, counted from the first epoch on
};

SampleOrder::SampleOrder(std::uint64_t seed, std::uint32_t stream, std::vector<SampleGroup> groups,
                         std::uint64_t window)
    : seed_(seed), stream_(stream) {
  CSKD_CHECK(groups.size() < (1U << 16) && window >= 1 && stream < kOfWindows, "{} groups, window {}, stream {}",
             groups.size(), window, stream);
  std::uint64_t first = 0;
  for (SampleGroup& each : groups) {
    Group group{.number = groups_.size(), .first = first, .blocks = std::move(each.blocks)};
    for (const std::uint64_t size : group.blocks) {
      CSKD_CHECK(size >= 1 && size < (1ULL << 32), "a block of {} samples", size);
      group.samples += size;
    }
    CSKD_CHECK(std::isfinite(each.weight) && each.weight >= 0, "weight {}", each.weight);
    const double uses = std::round(each.weight * static_cast<double>(group.samples));
    CSKD_CHECK(uses < 0x1p48, "{} uses in an epoch", uses);
    group.uses =
        each.weight > 0 && group.samples > 0 ? std::max<std::uint64_t>(1, static_cast<std::uint64_t>(uses)) : 0;
    first += group.samples;
    size_ += group.uses;
    groups_.push_back(std::move(group));
  }
  if (size_ == 0) throw runtime::UsageError("no sample is left to train on: all sources are empty or have weight 0");
  windows_ = (size_ + window - 1) / window;
}

SampleOrder::~SampleOrder() = default;

std::uint64_t SampleOrder::start_of(std::uint64_t window) const {
  std::uint64_t start = 0;
  for (const Group& group : groups_) start += share(window, group.uses, windows_);
  return start;
}

std::uint64_t SampleOrder::window_of(std::uint64_t place) const {
  // Windows start at most one sample for each group before the even share.
  std::uint64_t window = std::min(share(place, windows_, size_), windows_ - 1);
  while (window + 1 < windows_ && start_of(window + 1) <= place) ++window;
  return window;
}

void SampleOrder::enter(std::uint64_t epoch, std::uint64_t place) const {
  const std::uint64_t number = window_of(place);
  const std::uint64_t start = start_of(number);
  const std::uint64_t end = start_of(number + 1);
  // 2^20 windows of 2^44 epochs; what is beyond repeats.
  const std::uint64_t item = (epoch << 20) + number;
  window_ =
      std::make_unique<Window>(Window{epoch, start, end, {seed_, stream_ + kOfWindows, item, end - start}, {}, {}});
  std::uint64_t sum = 0;
  for (const Group& group : groups_) {
    const std::uint64_t first = share(number, group.uses, windows_);
    sum += share(number + 1, group.uses, windows_) - first;
    window_->ends.push_back(sum);
    window_->uses.push_back(epoch * group.uses + first);
  }
}

SampleOrder::Round SampleOrder::make_round(const Group& group, std::uint64_t number) const {
  runtime::Philox random(seed_, stream_ + kOfRounds, (number << 16) + group.number);
  Round round{.number = number, .blocks = {}};
  std::uint64_t first = group.first;
  for (const std::uint64_t size : group.blocks) {
    Round::Block block{.first = first, .size = size};
    first += size;
    const auto bound = static_cast<std::uint32_t>(size);
    block.shift = random.below(bound);
    do {
      block.factor = 1 + std::uint64_t{random.below(bound)};
    } while (std::gcd(block.factor, size) != 1);
    round.blocks.push_back(block);
  }
  for (std::size_t i = round.blocks.size(); i > 1; --i)
    std::swap(round.blocks[i - 1], round.blocks[random.below(static_cast<std::uint32_t>(i))]);
  std::uint64_t end = 0;
  for (Round::Block& block : round.blocks) block.end = end += block.size;
  return round;
}

// A group's use, counted from the first epoch on.
SampleUse SampleOrder::use_of(Group& group, std::uint64_t use) const {
  const std::uint64_t number = use / group.samples;
  const std::uint64_t place = use % group.samples;
  auto round =
      std::find_if(group.rounds.begin(), group.rounds.end(), [&](const auto& each) { return each.number == number; });
  if (round == group.rounds.end()) {
    group.rounds.push_front(make_round(group, number));
    if (group.rounds.size() > kRoundsKept) group.rounds.pop_back();
    round = group.rounds.begin();
  }
  const std::vector<Round::Block>& blocks = round->blocks;
  const auto block = std::upper_bound(blocks.begin(), blocks.end(), place,
                                      [](std::uint64_t wanted, const Round::Block& each) { return wanted < each.end; });
  const std::uint64_t inside = place - (block->end - block->size);
  return {block->first + (block->factor * inside + block->shift) % block->size, number};
}

std::vector<SampleUse> SampleOrder::at(std::uint64_t position, std::uint64_t count) const {
  std::vector<SampleUse> uses;
  uses.reserve(count);
  const std::lock_guard lock(mutex_);
  for (; uses.size() < count; ++position) {
    const std::uint64_t place = position % size_;
    if (!window_ || window_->epoch != epoch(position) || place < window_->start || place >= window_->end)
      enter(epoch(position), place);
    const std::uint64_t unmixed = window_->mix(place - window_->start);
    const auto end = std::upper_bound(window_->ends.begin(), window_->ends.end(), unmixed);
    const auto index = static_cast<std::size_t>(end - window_->ends.begin());
    const std::uint64_t before = index == 0 ? 0 : window_->ends[index - 1];
    uses.push_back(use_of(groups_[index], window_->uses[index] + unmixed - before));
  }
  return uses;
}

}  // namespace cskd::data

// Properties of the order, against counting, true shuffles (std::shuffle) and closed forms.
#include "data/sample_order.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <random>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "data/multiset_hash.h"
#include "data/sampler.h"
#include "runtime/error.h"

namespace cskd::data {
namespace {

constexpr std::uint32_t kStream = kStreamAlignOrder;

std::vector<std::uint64_t> samples(const SampleOrder& order, std::uint64_t position, std::uint64_t count) {
  std::vector<std::uint64_t> result;
  for (const SampleUse& use : order.at(position, count)) result.push_back(use.sample);
  return result;
}

// `count` samples in blocks of 1 to `most`.
SampleGroup group(std::uint64_t count, std::uint64_t most, double weight = 1) {
  std::mt19937_64 random(count);
  SampleGroup result{.weight = weight, .blocks = {}};
  while (count > 0) {
    result.blocks.push_back(std::min(count, 1 + random() % most));
    count -= result.blocks.back();
  }
  return result;
}

std::vector<std::uint64_t> all(std::uint64_t count) {
  std::vector<std::uint64_t> numbers(count);
  std::iota(numbers.begin(), numbers.end(), std::uint64_t{0});
  return numbers;
}

TEST(SampleOrder, HoldsEachSampleOnceAnEpoch) {
  for (const std::uint64_t size : {1, 2, 3, 4, 5, 7, 8, 9, 63, 97, 1000, 12'345, 200'000}) {
    for (const std::uint64_t window : {std::uint64_t{1}, std::uint64_t{7}, std::uint64_t{1000}, kOrderWindow}) {
      if (size / window > 20'000) continue;
      const SampleOrder order(5, kStream, {group(size / 3, 50), group(size - size / 3, 900)}, window);
      ASSERT_EQ(order.size(), size);
      for (const std::uint64_t epoch : {0, 1, 7}) {
        std::vector<std::uint64_t> seen = samples(order, epoch * size, size);
        std::sort(seen.begin(), seen.end());
        ASSERT_EQ(seen, all(size)) << "epoch " << epoch << ", window " << window;
      }
    }
  }
}

// Of a thousand million, some windows and a million positions anywhere.
TEST(SampleOrder, HoldsNoSampleTwiceInAHugeEpoch) {
  constexpr std::uint64_t kSize = 1'000'000'007;
  SampleGroup small = group(10'000'000, 16'384);
  SampleGroup large = group(kSize - 10'000'000, 16'384);
  const SampleOrder order(5, kStream, {small, large});
  ASSERT_EQ(order.size(), kSize);
  std::mt19937_64 random(1);
  for (const std::uint64_t start : {std::uint64_t{0}, 3 * kSize + random() % kSize}) {
    std::vector<std::uint64_t> seen = samples(order, start, 600'000);
    std::sort(seen.begin(), seen.end());
    EXPECT_EQ(std::adjacent_find(seen.begin(), seen.end()), seen.end());
    EXPECT_LT(seen.back(), kSize);
  }
  // Runs of 100 at 10,000 places, in rising order so that windows are entered once.
  std::set<std::uint64_t> places;
  while (places.size() < 10'000) places.insert(random() % (kSize / 100) * 100);
  std::vector<std::uint64_t> seen;
  for (const std::uint64_t place : places) {
    for (const std::uint64_t sample : samples(order, place, std::min<std::uint64_t>(100, kSize - place)))
      seen.push_back(sample);
  }
  std::sort(seen.begin(), seen.end());
  EXPECT_EQ(std::adjacent_find(seen.begin(), seen.end()), seen.end());
}

TEST(SampleOrder, IsAFunctionOfThePositionAlone) {
  const std::vector<SampleGroup> groups{group(100, 9), group(33, 4, 2.5)};
  const SampleOrder order(5, kStream, groups, 40);
  const std::vector<SampleUse> together = order.at(3, 1000);
  const SampleOrder other(5, kStream, groups, 40);
  for (const std::uint64_t i : {999, 0, 500, 499, 17}) EXPECT_EQ(other.at(3 + i, 1).front(), together[i]);
}

TEST(SampleOrder, DependsOnSeedStreamAndEpoch) {
  const std::vector<SampleGroup> groups{group(100, 9)};
  const std::vector<std::uint64_t> one = samples(SampleOrder(5, kStream, groups), 0, 100);
  EXPECT_NE(one, samples(SampleOrder(6, kStream, groups), 0, 100));
  EXPECT_NE(one, samples(SampleOrder(5, kStream + 1, groups), 0, 100));
  EXPECT_NE(one, samples(SampleOrder(5, kStream, groups), 100, 100));
}

TEST(SampleOrder, WeightsAreUsesInAnEpoch) {
  // 2: each twice; 0.5: half of them, then the others; 1.7: in ten epochs each 17 times.
  const std::vector<SampleGroup> groups{group(100, 9), group(60, 9, 2), group(40, 9, 0.5), group(30, 9, 1.7),
                                        group(20, 9, 0)};
  const SampleOrder order(5, kStream, groups, 64);
  EXPECT_EQ(order.size(), 100U + 120 + 20 + 51);
  std::map<std::uint64_t, int> counts;
  for (int epoch = 0; epoch < 10; ++epoch) {
    std::map<std::uint64_t, std::set<std::uint64_t>> rounds;
    for (const SampleUse& use : order.at(static_cast<std::uint64_t>(epoch) * order.size(), order.size())) {
      ++counts[use.sample];
      EXPECT_TRUE(rounds[use.sample].insert(use.round).second) << "a round twice";
    }
    for (std::uint64_t sample = 0; sample < 160; ++sample) EXPECT_EQ(rounds[sample].size(), sample < 100 ? 1U : 2U);
    if (epoch % 2 == 1) {
      for (std::uint64_t sample = 160; sample < 200; ++sample) EXPECT_EQ(counts[sample], (epoch + 1) / 2);
    }
  }
  for (std::uint64_t sample = 200; sample < 230; ++sample) EXPECT_EQ(counts[sample], 17);
  EXPECT_EQ(counts.size(), 230U);
}

TEST(SampleOrder, NothingToUseIsAnError) {
  EXPECT_THROW(SampleOrder(1, kStream, {}), runtime::UsageError);
  EXPECT_THROW(SampleOrder(1, kStream, {group(10, 3, 0)}), runtime::UsageError);
}

TEST(SampleOrder, EveryWindowHoldsTheSourcesInProportion) {
  const SampleOrder order(5, kStream, {group(10'000, 500), group(2993, 500), group(7, 7)}, 1000);
  // 13 windows.
  for (std::uint64_t k = 0; k < 13; ++k) {
    std::uint64_t start = 0;
    std::uint64_t end = 0;
    for (const std::uint64_t uses : {10'000, 2993, 7}) {
      start += k * uses / 13;
      end += (k + 1) * uses / 13;
    }
    std::array<std::uint64_t, 3> counts{};
    for (const std::uint64_t sample : samples(order, start, end - start))
      ++counts[sample < 10'000 ? 0 : sample < 12'993 ? 1 : 2];
    EXPECT_NEAR(static_cast<double>(counts[0]), 10'000 / 13.0, 1);
    EXPECT_NEAR(static_cast<double>(counts[1]), 2993 / 13.0, 1);
    EXPECT_LE(counts[2], 1U);
  }
}

// A window reads from few blocks: those that its samples fill, and two for each group.
TEST(SampleOrder, AWindowReadsFewBlocks) {
  SampleGroup even{.blocks = std::vector<std::uint64_t>(400, 100)};
  const SampleOrder order(5, kStream, {even, even}, 2000);
  for (std::uint64_t k = 0; k < 40; ++k) {
    std::set<std::uint64_t> blocks;
    for (const std::uint64_t sample : samples(order, 2000 * k, 2000)) blocks.insert(sample / 100);
    EXPECT_LE(blocks.size(), 20U + 4);
  }
}

// The share of each source in batches varies as in a true shuffle: hypergeometrically.
TEST(SampleOrder, BatchesHoldSourcesAsATrueShuffleDoes) {
  constexpr double kFirst = 6000;
  constexpr double kAll = 20'000;
  constexpr std::uint64_t kBatch = 50;
  for (const std::uint64_t window : {std::uint64_t{2000}, kOrderWindow}) {
    const SampleOrder order(9, kStream, {group(6000, 300), group(14'000, 300)}, window);
    double squares = 0;
    const std::uint64_t batches = 10 * order.size() / kBatch;
    for (std::uint64_t batch = 0; batch < batches; ++batch) {
      double count = 0;
      for (const std::uint64_t sample : samples(order, batch * kBatch, kBatch)) count += sample < 6000 ? 1 : 0;
      squares += (count - kBatch * kFirst / kAll) * (count - kBatch * kFirst / kAll);
    }
    const double share = kFirst / kAll;
    const double size = window == kOrderWindow ? kAll : static_cast<double>(window);
    const double expected = kBatch * share * (1 - share) * (size - kBatch) / (size - 1);
    // The variance of n independent normal squares has a relative standard deviation of sqrt(2 / n).
    EXPECT_NEAR(squares / static_cast<double>(batches) / expected, 1,
                5 * std::sqrt(2.0 / static_cast<double>(batches)));
  }
}

// In a true shuffle one sample of an epoch is followed by its successor on average (Poisson).
TEST(SampleOrder, NeighboursStayNeighboursAsRarelyAsInATrueShuffle) {
  const SampleOrder order(9, kStream, {group(5000, 700)});
  int follow = 0;
  constexpr int kEpochs = 400;
  for (int epoch = 0; epoch < kEpochs; ++epoch) {
    const std::vector<std::uint64_t> seen = samples(order, static_cast<std::uint64_t>(epoch) * 5000, 5000);
    for (std::size_t i = 1; i < seen.size(); ++i) follow += seen[i] == seen[i - 1] + 1 ? 1 : 0;
  }
  EXPECT_NEAR(follow, kEpochs, 5 * std::sqrt(kEpochs));
}

// Pearson's correlation of two epochs' places: of independent shuffles normal with deviation 1 / sqrt(n).
TEST(SampleOrder, EpochsAreIndependent) {
  constexpr std::uint64_t kSize = 20'000;
  for (const std::uint64_t window : {std::uint64_t{2000}, kOrderWindow}) {
    const SampleOrder order(9, kStream, {group(kSize, 300)}, window);
    std::vector<double> places(kSize);
    double sum = 0;
    for (std::uint64_t epoch = 0; epoch < 5; ++epoch) {
      const std::vector<std::uint64_t> seen = samples(order, epoch * kSize, kSize);
      if (epoch > 0) {
        double product = 0;
        for (std::uint64_t i = 0; i < kSize; ++i)
          product += (static_cast<double>(i) - (kSize - 1) / 2.0) * places[seen[i]];
        sum = product / (static_cast<double>(kSize) * (static_cast<double>(kSize) * kSize - 1) / 12.0);
        // Samples of one block go through windows together: as if there were fewer of them.
        const double independent = window == kOrderWindow ? kSize : kSize / 300.0;
        EXPECT_LT(std::abs(sum), 5 / std::sqrt(independent)) << epoch;
      }
      for (std::uint64_t i = 0; i < kSize; ++i) places[seen[i]] = static_cast<double>(i) - (kSize - 1) / 2.0;
    }
  }
}

// Steps [0, k) on one number of ranks and the rest on another one use what an undisturbed run uses.
TEST(SampleOrder, AnyOtherNumberOfRanksGoesOnWithWhatIsLeft) {
  constexpr std::uint64_t kMicroBatches = 4096;
  constexpr std::uint64_t kBatch = 8192;
  constexpr std::uint64_t kSteps = 12;
  const SampleOrder order(9, kStream, {group(30'000, 300), group(5000, 300, 1.5)}, 4000);
  const auto used = [&](std::uint64_t first, std::uint64_t end, int ranks) {
    MultisetHash hash;
    for (int rank = 0; rank < ranks; ++rank) {
      const BatchLayout layout = make_batch_layout("t", kBatch, kMicroBatches, rank, ranks);
      for (std::uint64_t step = first; step < end; ++step) {
        for (std::uint64_t own = 0; own < layout.own(); ++own) {
          for (const std::uint64_t sample : samples(order, layout.position(step, own), layout.samples()))
            hash.add(sample);
        }
      }
    }
    return hash;
  };
  MultisetHash whole;
  for (const std::uint64_t sample : samples(order, 0, kSteps * kBatch)) whole.add(sample);
  std::mt19937_64 random(4);
  for (int pair = 0; pair < 50; ++pair) {
    const std::uint64_t stop = random() % (kSteps + 1);
    const int before = 1 << random() % 13;
    const int after = 1 << random() % 13;
    MultisetHash both = used(0, stop, before);
    both.add(used(stop, kSteps, after));
    ASSERT_EQ(both, whole) << "stopped at step " << stop << " on " << before << " ranks, went on with " << after;
  }
}

TEST(MultisetHash, TellsOrdersFromMultisets) {
  const auto hash_of = [](const std::vector<std::uint64_t>& numbers) {
    MultisetHash hash;
    for (const std::uint64_t number : numbers) hash.add(number);
    return hash;
  };
  EXPECT_EQ(hash_of({1, 2, 3, 3}), hash_of({3, 1, 3, 2}));
  EXPECT_NE(hash_of({1, 2, 3}), hash_of({1, 2, 3, 3}));
  EXPECT_NE(hash_of({1, 4}), hash_of({2, 3}));
  MultisetHash sum = hash_of({1, 2});
  sum.add(hash_of({3}));
  EXPECT_EQ(sum, hash_of({3, 2, 1}));
}

}  // namespace
}  // namespace cskd::data

#include "data/sampler.h"

#include <map>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/error.h"

namespace cskd::data {
namespace {

TEST(SampleOrder, HoldsEachSampleOnceAnEpochAndMixesEachAnew) {
  const SampleOrder order(5, kStreamAlignOrder, 97);
  std::map<std::uint64_t, int> counts;
  for (std::uint64_t p = 0; p < 291; ++p) ++counts[order(p)];
  for (const auto& [sample, count] : counts) EXPECT_EQ(count, 3) << sample;
  EXPECT_EQ(counts.size(), 97U);
  EXPECT_NE(order.at(0, 97), order.at(97, 97));
}

TEST(SampleOrder, GivesTheSameAcrossEpochsAtOnceAndOneByOne) {
  const SampleOrder order(5, kStreamAlignOrder, 10);
  const std::vector<std::uint64_t> together = order.at(3, 25);
  for (std::uint64_t i = 0; i < 25; ++i) EXPECT_EQ(together[i], order(3 + i));
}

// Whatever the number of ranks, a step's positions are the same, each once.
TEST(BatchLayout, CoversAStepOnAnyNumberOfRanks) {
  for (const int ranks : {1, 2, 4, 8}) {
    std::vector<std::uint64_t> positions;
    for (int rank = 0; rank < ranks; ++rank) {
      const BatchLayout layout = make_batch_layout("t", 64, 8, rank, ranks);
      for (std::uint64_t own = 0; own < layout.own(); ++own) {
        for (std::uint64_t i = 0; i < layout.samples(); ++i) positions.push_back(layout.position(3, own) + i);
      }
    }
    ASSERT_EQ(positions.size(), 64U);
    for (std::uint64_t i = 0; i < 64; ++i) EXPECT_EQ(positions[i], 192 + i);
  }
}

TEST(BatchLayout, RefusesWhatDoesNotDivide) {
  try {
    make_batch_layout("align.training", 64, 8, 0, 3);
    FAIL();
  } catch (const runtime::UsageError& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("start 1, 2, 4, 8 ranks"));
  }
  EXPECT_THROW(make_batch_layout("align.training", 60, 8, 0, 1), runtime::UsageError);
}

}  // namespace
}  // namespace cskd::data

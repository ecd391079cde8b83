#include "data/sampler.h"

#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/error.h"

namespace cskd::data {
namespace {

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

TEST(RequireBatch, RefusesMoreThanAnEpoch) {
  const SampleOrder order(1, kStreamAlignOrder, {{.weight = 2, .blocks = {10}}});
  EXPECT_NO_THROW(require_batch(order, "align.training.global_batch", 20));
  try {
    require_batch(order, "align.training.global_batch", 21);
    FAIL();
  } catch (const runtime::UsageError& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("align.training.global_batch is 21"));
  }
}

}  // namespace
}  // namespace cskd::data

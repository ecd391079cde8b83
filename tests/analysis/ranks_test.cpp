// What ranks add up, on 1, 2 and 4 of them, against one that has it all.
#include "analysis/ranks.h"

#include <chrono>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <torch/types.h>
#include <torch/utils.h>

#include "analysis/attention_meter.h"
#include "tests/support/on_ranks.h"

namespace cskd::analysis {
namespace {

constexpr std::chrono::seconds kLimit{60};
constexpr std::int64_t kPictures = 7;

class RanksTest : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Ranks, RanksTest, testing::Values(1, 2, 4), testing::PrintToStringParamName());

std::unique_ptr<distributed::Communicator> communicator_of(runtime::World& world) {
  at::set_num_threads(1);
  return distributed::make_mpi_communicator(world, std::chrono::seconds(30));
}

at::Tensor random(at::IntArrayRef shape, std::uint64_t seed) {
  torch::manual_seed(seed);
  return torch::randn(shape);
}

// Of picture i; each rank takes every size-th one, so that one of four has a picture less.
models::Features features_of(std::int64_t picture) {
  const auto seed = static_cast<std::uint64_t>(picture);
  models::Features features{.pooled = random({1, 3}, seed), .tokens = random({1, 9, 4}, seed + 100), .attention = {}};
  for (std::uint64_t layer = 0; layer < 2; ++layer)
    features.attention.push_back(
        {random({1, 2, 10, 4}, seed + 200 + layer), random({1, 2, 10, 4}, seed + 300 + layer)});
  return features;
}

const models::EncoderShape kShape{
    .name = "test", .image_size = 48, .pooled_width = 3, .token_width = 4, .grid = 3, .attention_layers = 2};

TEST_P(RanksTest, RowsOfAllComeInTheOrderOfRanks) {
  tests::on_ranks(GetParam(), kLimit, [](runtime::World& world) {
    const auto communicator = communicator_of(world);
    // Rank 1 has none.
    const std::int64_t own = world.rank() == 1 ? 0 : 3 + world.rank();
    const at::Tensor rows = torch::full({own, 2}, static_cast<float>(world.rank()));
    std::vector<int> ranks;
    std::vector<std::int64_t> counts;
    with_rows_of_all(rows, 2, *communicator, [&](const at::Tensor& block, int rank) {
      EXPECT_TRUE(block.eq(static_cast<float>(rank)).all().item<bool>());
      ranks.push_back(rank);
      counts.push_back(block.size(0));
    });
    std::vector<int> expected_ranks;
    std::vector<std::int64_t> expected_counts;
    for (int rank = 0; rank < world.size(); ++rank) {
      for (std::int64_t left = rank == 1 ? 0 : 3 + rank; left > 0; left -= 2) {
        expected_ranks.push_back(rank);
        expected_counts.push_back(std::min<std::int64_t>(2, left));
      }
    }
    EXPECT_EQ(ranks, expected_ranks);
    EXPECT_EQ(counts, expected_counts);
  });
}

TEST_P(RanksTest, SumsLeaveTheOwnNumbersAsTheyAre) {
  tests::on_ranks(GetParam(), kLimit, [](runtime::World& world) {
    const auto communicator = communicator_of(world);
    const at::Tensor own = torch::full({2}, static_cast<double>(world.rank() + 1), at::kDouble);
    const double all = 0.5 * world.size() * (world.size() + 1);
    EXPECT_EQ(summed(own, *communicator, "test")[1].item<double>(), all);
    EXPECT_EQ(own[1].item<double>(), world.rank() + 1);
    EXPECT_EQ(of_first_rank(own, *communicator, "test")[0].item<double>(), 1);
  });
}

TEST_P(RanksTest, AttentionIsThatOfAllPictures) {
  tests::on_ranks(GetParam(), kLimit, [](runtime::World& world) {
    const auto communicator = communicator_of(world);
    const auto alone = distributed::make_local_communicator(at::kCPU);
    AttentionMeter shared(kShape, 2, 4);
    AttentionMeter whole(kShape, 2, 4);
    EXPECT_TRUE(shared.request().tokens);
    EXPECT_EQ(shared.request().attention, (std::vector<int>{0, 1}));
    for (std::int64_t picture = 0; picture < kPictures; ++picture) {
      if (picture % world.size() == world.rank()) shared.add(features_of(picture));
      whole.add(features_of(picture));
    }
    ModelFindings found;
    ModelFindings expected;
    shared.finish(*communicator, found);
    whole.finish(*alone, expected);
    ASSERT_EQ(found.layers.size(), 2U);
    for (std::size_t layer = 0; layer < 2; ++layer) {
      ASSERT_EQ(found.layers[layer].heads.size(), 2U);
      for (std::size_t head = 0; head < 2; ++head) {
        EXPECT_NEAR(found.layers[layer].heads[head].distance, expected.layers[layer].heads[head].distance, 1e-12);
        EXPECT_NEAR(found.layers[layer].heads[head].entropy_std, expected.layers[layer].heads[head].entropy_std, 1e-9);
      }
      EXPECT_NEAR(found.layers[layer].head_similarity, expected.layers[layer].head_similarity, 1e-12);
      for (std::size_t bin = 0; bin < 4; ++bin)
        EXPECT_NEAR(found.layers[layer].histogram[bin], expected.layers[layer].histogram[bin], 1e-12);
    }
    ASSERT_TRUE(found.affinity && expected.affinity);
    EXPECT_NEAR(found.affinity->figures.distance, expected.affinity->figures.distance, 1e-12);
  });
}

TEST(AttentionMeter, IsTheMeanOverPicturesWithTheirDeviation) {
  const auto alone = distributed::make_local_communicator(at::kCPU);
  std::vector<double> distances;
  AttentionMeter all(kShape, 0, 4);
  for (std::int64_t picture = 0; picture < kPictures; ++picture) {
    AttentionMeter single(kShape, 0, 4);
    single.add(features_of(picture));
    all.add(features_of(picture));
    ModelFindings found;
    single.finish(*alone, found);
    distances.push_back(found.layers[1].heads[0].distance);
    EXPECT_NEAR(found.layers[1].heads[0].distance_std, 0, 1e-6);
  }
  ModelFindings found;
  all.finish(*alone, found);
  const at::Tensor each = torch::tensor(distances, at::kDouble);
  const HeadFigures& head = found.layers[1].heads[0];
  EXPECT_NEAR(head.distance, each.mean().item<double>(), 1e-9);
  EXPECT_NEAR(head.distance_std, each.std(false).item<double>(), 1e-6);
  // 48 pixels in a grid of 3: the diagonal is 2 sqrt(2) patches of 16.
  EXPECT_NEAR(head.distance_pixels, head.distance * 2 * std::sqrt(2.0) * 16, 1e-9);
  EXPECT_NEAR(head.entropy_share, head.entropy / std::log(9.0), 1e-12);
}

TEST(AttentionMeter, SaysWhyThereIsNothing) {
  const auto alone = distributed::make_local_communicator(at::kCPU);
  models::EncoderShape shape = kShape;
  shape.attention_layers = 0;
  shape.grid = 1;
  AttentionMeter meter(shape, 1, 4);
  EXPECT_FALSE(meter.request().tokens);
  meter.add({.pooled = random({1, 3}, 1), .tokens = {}, .attention = {}});
  ModelFindings found;
  meter.finish(*alone, found);
  EXPECT_EQ(found.no_attention, "this encoder has no attention maps");
  EXPECT_EQ(found.no_affinity, "its grid is 1 x 1: a single token has no others");
  EXPECT_FALSE(found.affinity.has_value());
}

}  // namespace
}  // namespace cskd::analysis

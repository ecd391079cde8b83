#include "features/feature_queue.h"

#include <algorithm>
#include <deque>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "tests/support/on_ranks.h"

namespace cskd::features {
namespace {

using namespace std::chrono_literals;
using runtime::World;

constexpr std::int64_t kWidth = 3;

std::unique_ptr<distributed::Communicator> communicator_of(World& world) {
  return distributed::make_communicator(world, 30s);
}

// Feature number `i` of a training.
at::Tensor row(std::int64_t i) { return at::full({1, kWidth}, static_cast<double>(i), at::kFloat); }

std::vector<std::int64_t> numbers_in(const FeatureQueue& queue) {
  std::vector<std::int64_t> numbers;
  const at::Tensor features = queue.features();
  for (std::int64_t i = 0; i < features.size(0); ++i) numbers.push_back(features[i][kWidth - 1].item<std::int64_t>());
  std::ranges::sort(numbers);
  return numbers;
}

// Steps of four micro-batches of `images` pictures, as many of them on each rank.
void take_step(World& world, FeatureQueue& queue, std::int64_t step, std::int64_t images, bool is_taken = true) {
  const std::int64_t own = 4 / world.size();
  for (std::int64_t batch = world.rank() * own; batch < (world.rank() + 1) * own; ++batch) {
    std::vector<at::Tensor> rows;
    for (std::int64_t i = 0; i < images; ++i) rows.push_back(row((step * 4 + batch) * images + i));
    queue.hold(at::cat(rows));
  }
  queue.finish_step(is_taken);
}

class FeatureQueueTest : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Ranks, FeatureQueueTest, testing::Values(1, 2, 4), testing::PrintToStringParamName());

TEST_P(FeatureQueueTest, HoldsTheLatestOfAllRanks) {
  tests::on_ranks(GetParam(), 60s, [](World& world) {
    const auto communicator = communicator_of(world);
    // Shorter than a step, as long, no multiple of one, longer than all.
    for (const std::int64_t length : {5, 8, 19, 100}) {
      FeatureQueue queue(length, kWidth, *communicator);
      std::deque<std::int64_t> expected;
      for (std::int64_t step = 0; step < 7; ++step) {
        take_step(world, queue, step, 2);
        for (std::int64_t i = 0; i < 8; ++i) expected.push_back(step * 8 + i);
        while (std::ssize(expected) > length) expected.pop_front();
        EXPECT_EQ(numbers_in(queue), std::vector<std::int64_t>(expected.begin(), expected.end())) << length;
      }
    }
  });
}

TEST_P(FeatureQueueTest, HasTheSameTensorsOnAnyNumberOfRanks) {
  tests::on_ranks(GetParam(), 60s, [](World& world) {
    const auto communicator = communicator_of(world);
    FeatureQueue queue(11, kWidth, *communicator);
    for (std::int64_t step = 0; step < 3; ++step) take_step(world, queue, step, 1);
    // The ring of 12 features in 11 places: the last one took the place of the first.
    std::vector<at::Tensor> rows{row(11)};
    for (std::int64_t i = 1; i < 11; ++i) rows.push_back(row(i));
    EXPECT_TRUE(queue.state()[0].second.equal(at::cat(rows)));
    EXPECT_EQ(queue.state()[1].second.item<std::int64_t>(), 12);
  });
}

TEST_P(FeatureQueueTest, AStepThatIsLeftOutLeavesNoTrace) {
  tests::on_ranks(GetParam(), 60s, [](World& world) {
    const auto communicator = communicator_of(world);
    FeatureQueue queue(6, kWidth, *communicator);
    FeatureQueue other(6, kWidth, *communicator);
    for (std::int64_t step = 0; step < 4; ++step) {
      take_step(world, queue, step, 1, step != 2);
      if (step != 2) take_step(world, other, step, 1);
    }
    for (std::size_t i = 0; i < 2; ++i) EXPECT_TRUE(queue.state()[i].second.equal(other.state()[i].second));
  });
}

TEST_P(FeatureQueueTest, GoesOnFromItsState) {
  tests::on_ranks(GetParam(), 60s, [](World& world) {
    const auto communicator = communicator_of(world);
    FeatureQueue queue(6, kWidth, *communicator);
    FeatureQueue resumed(6, kWidth, *communicator);
    for (std::int64_t step = 0; step < 2; ++step) take_step(world, queue, step, 1);
    for (std::size_t i = 0; i < 2; ++i) resumed.state()[i].second.copy_(queue.state()[i].second);
    for (FeatureQueue* each : {&queue, &resumed}) take_step(world, *each, 2, 1);
    EXPECT_TRUE(queue.features().equal(resumed.features()));
  });
}

TEST(FeatureQueue, IsZerosOfItsLengthAtFirst) {
  tests::on_ranks(1, 60s, [](World& world) {
    const auto communicator = communicator_of(world);
    EXPECT_TRUE(FeatureQueue(4, kWidth, *communicator).features().equal(at::zeros({4, kWidth})));
  });
}

}  // namespace
}  // namespace cskd::features

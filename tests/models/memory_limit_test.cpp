#include "models/plugin/memory_limit.h"

#include <gtest/gtest.h>
#include <torch/types.h>

namespace {

using cskd::models::MemoryLimit;

constexpr std::uint64_t kMegabyte = 1'000'000;

torch::Tensor megabytes(std::int64_t count) { return torch::zeros({count * 250'000}); }

TEST(MemoryLimit, CountsWhatIsAliveAndEndsWithItsScope) {
  torch::Tensor outlives;
  {
    const MemoryLimit limit(10 * kMegabyte);
    const torch::Tensor first = megabytes(5);
    torch::Tensor second = megabytes(4);
    EXPECT_THROW(megabytes(2), c10::Error);
    EXPECT_THROW(torch::zeros({1L << 40}), c10::Error);
    second = torch::Tensor();
    second = megabytes(4);
    // What an operator makes counts, too, and views do not.
    EXPECT_EQ(first.view({2, -1}).expand({2, 625'000}).sum().item<float>(), 0);
    EXPECT_THROW(first + 1, c10::Error);
    EXPECT_NO_THROW(first.add_(1));
    outlives = first;
  }
  EXPECT_EQ(megabytes(20).numel(), 5'000'000);
  EXPECT_EQ(outlives.resize_({5'000'000}).numel(), 5'000'000);
  EXPECT_EQ(outlives.slice(0, 0, 1'250'000).sum().item<float>(), 1'250'000);
  outlives = torch::Tensor();
  const MemoryLimit again(10 * kMegabyte);
  EXPECT_NO_THROW(megabytes(9));
}

}  // namespace

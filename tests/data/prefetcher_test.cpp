#include "data/prefetcher.h"

#include <atomic>
#include <chrono>
#include <stdexcept>

#include <gtest/gtest.h>

namespace cskd::data {
namespace {

TEST(Prefetcher, KeepsTheOrderWhateverThreadIsFirst) {
  Prefetcher<std::uint64_t> loader(4, 6, 10, 60, [](std::uint64_t ticket) {
    std::this_thread::sleep_for(std::chrono::microseconds((ticket * 37) % 400));
    return ticket;
  });
  for (std::uint64_t expected = 10; expected < 60; ++expected) EXPECT_EQ(loader.next(), expected);
}

TEST(Prefetcher, MakesNoMoreAheadThanItsDepth) {
  std::atomic<std::uint64_t> made{0};
  Prefetcher<int> loader(3, 4, 0, 1000, [&](std::uint64_t) { return static_cast<int>(++made); });
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  EXPECT_EQ(made, 4U);
  loader.next();
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  EXPECT_EQ(made, 5U);
}

TEST(Prefetcher, ThrowsAnErrorInItsPlace) {
  Prefetcher<std::uint64_t> loader(2, 3, 0, 5, [](std::uint64_t ticket) {
    if (ticket == 2) throw std::runtime_error("third");
    return ticket;
  });
  EXPECT_EQ(loader.next(), 0U);
  EXPECT_EQ(loader.next(), 1U);
  EXPECT_THROW(loader.next(), std::runtime_error);
  EXPECT_EQ(loader.next(), 3U);
}

TEST(Prefetcher, EndsWhileBatchesWait) {
  const Prefetcher<int> loader(2, 8, 0, 100, [](std::uint64_t ticket) { return static_cast<int>(ticket); });
}

}  // namespace
}  // namespace cskd::data

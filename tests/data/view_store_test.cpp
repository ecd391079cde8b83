#include "data/view_store.h"

#include <algorithm>
#include <cstdint>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace cskd::data {
namespace {

constexpr int kStoredSide = 4;
constexpr std::size_t kBytes = 3 * kStoredSide * kStoredSide;

std::vector<std::uint8_t> pixels_of(const SampleRef& sample, std::uint64_t number) {
  std::vector<std::uint8_t> pixels(kBytes);
  for (std::size_t i = 0; i < pixels.size(); ++i)
    pixels[i] = static_cast<std::uint8_t>(31 * sample.shard + 7 * sample.row + 3 * number + i);
  return pixels;
}

TEST(ViewStore, GivesBackWhatItKeeps) {
  ViewStore store(1 << 20, kStoredSide);
  std::vector<std::uint8_t> found(kBytes);
  EXPECT_FALSE(store.find({1, 2}, 3, found));
  store.keep({1, 2}, 3, pixels_of({1, 2}, 3));
  EXPECT_TRUE(store.find({1, 2}, 3, found));
  EXPECT_EQ(found, pixels_of({1, 2}, 3));
  EXPECT_FALSE(store.find({1, 2}, 4, found));
  EXPECT_FALSE(store.find({2, 1}, 3, found));
  EXPECT_EQ(store.kept(), 1U);
}

TEST(ViewStore, StaysWithinItsBytesAndKeepsWhatCameFirst) {
  constexpr std::uint64_t kCapacity = 100'000;
  ViewStore store(kCapacity, kStoredSide);
  for (std::uint32_t row = 0; row < 10'000; ++row) store.keep({0, row}, 0, pixels_of({0, row}, 0));
  EXPECT_LE(store.kept() * kBytes, kCapacity);
  EXPECT_GT(store.kept() * kBytes, kCapacity / 4);
  std::vector<std::uint8_t> found(kBytes);
  EXPECT_TRUE(store.find({0, 0}, 0, found));
  EXPECT_FALSE(store.find({0, 9999}, 0, found));
  ViewStore none(0, kStoredSide);
  none.keep({0, 0}, 0, pixels_of({0, 0}, 0));
  EXPECT_EQ(none.kept(), 0U);
}

TEST(ViewStore, ServesManyThreads) {
  ViewStore store(1 << 22, kStoredSide);
  std::vector<std::thread> threads;
  std::vector<int> wrong(4);
  for (std::size_t thread = 0; thread < wrong.size(); ++thread) {
    threads.emplace_back([&, thread] {
      std::vector<std::uint8_t> found(kBytes);
      for (std::uint32_t row = 0; row < 2000; ++row) {
        const SampleRef sample{3, (row * 7 + static_cast<std::uint32_t>(thread)) % 500};
        if (store.find(sample, row % 3, found)) {
          if (found != pixels_of(sample, row % 3)) ++wrong[thread];
        } else {
          store.keep(sample, row % 3, pixels_of(sample, row % 3));
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(std::ranges::count(wrong, 0), 4);
  EXPECT_LE(store.kept(), 1500U);
}

}  // namespace
}  // namespace cskd::data

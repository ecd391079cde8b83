#include "data/loader.h"

#include <atomic>
#include <chrono>
#include <stdexcept>

#include <gtest/gtest.h>

namespace cskd::data {
namespace {

using Batch = std::vector<std::uint64_t>;

constexpr std::uint64_t kItems = 7;

// Batches of kItems numbers: the ticket and the item.
BatchMaker<Batch> numbers(std::function<void(std::uint64_t ticket, std::uint64_t item)> before = [](auto, auto) {}) {
  return {.begin = [](std::uint64_t ticket) { return Batch(kItems, ticket); },
          .fill =
              [before = std::move(before)](Batch& batch, std::uint64_t item) {
                before(batch[item], item);
                batch[item] = 100 * batch[item] + item;
              },
          .items = [](std::uint64_t) { return kItems; }};
}

Batch expected(std::uint64_t ticket) {
  Batch batch;
  for (std::uint64_t item = 0; item < kItems; ++item) batch.push_back(100 * ticket + item);
  return batch;
}

TEST(Loader, KeepsTheOrderWhateverThreadIsFirst) {
  for (const int threads : {1, 2, 4, 9}) {
    Loader<Batch> loader(threads, 3, 10, 40, numbers([](std::uint64_t ticket, std::uint64_t item) {
                           std::this_thread::sleep_for(std::chrono::microseconds((ticket * 37 + item * 61) % 300));
                         }));
    for (std::uint64_t ticket = 10; ticket < 40; ++ticket) ASSERT_EQ(loader.next(), expected(ticket));
  }
}

TEST(Loader, BatchesMayDifferInSize) {
  BatchMaker<Batch> maker{.begin = [](std::uint64_t ticket) { return Batch(ticket, 0); },
                          .fill = [](Batch& batch, std::uint64_t item) { batch[item] = item + 1; },
                          .items = [](std::uint64_t ticket) { return ticket; }};
  Loader<Batch> loader(3, 2, 0, 50, std::move(maker));
  for (std::uint64_t ticket = 0; ticket < 50; ++ticket) {
    const Batch batch = loader.next();
    ASSERT_EQ(batch.size(), ticket);
    for (std::uint64_t i = 0; i < ticket; ++i) ASSERT_EQ(batch[i], i + 1);
  }
}

TEST(Loader, ManyThreadsWorkOnOneBatch) {
  // Each item waits for all others of its batch: one thread alone would never end.
  constexpr int kThreads = 7;
  std::atomic<int> arrived{0};
  Loader<Batch> loader(kThreads, 2, 0, 1, numbers([&](std::uint64_t, std::uint64_t) {
                         ++arrived;
                         const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(30);
                         while (arrived < kThreads && std::chrono::steady_clock::now() < give_up)
                           std::this_thread::yield();
                         if (arrived < kThreads) throw std::runtime_error("alone");
                       }));
  EXPECT_EQ(loader.next(), expected(0));
}

TEST(Loader, BeginsNoMoreAheadThanItsDepth) {
  std::atomic<std::uint64_t> begun{0};
  BatchMaker<Batch> maker = numbers();
  maker.begin = [&](std::uint64_t ticket) {
    ++begun;
    return Batch(kItems, ticket);
  };
  Loader<Batch> loader(3, 4, 0, 1000, std::move(maker));
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  EXPECT_EQ(begun, 4U);
  loader.next();
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  EXPECT_EQ(begun, 5U);
}

TEST(Loader, ThrowsAnErrorInItsPlaceTheFirstItemsOfSeveral) {
  Loader<Batch> loader(2, 3, 0, 5, numbers([](std::uint64_t ticket, std::uint64_t item) {
                         if (ticket == 2 && item >= 3) throw std::runtime_error("item " + std::to_string(item));
                       }));
  EXPECT_EQ(loader.next(), expected(0));
  EXPECT_EQ(loader.next(), expected(1));
  try {
    loader.next();
    FAIL() << "the third batch is whole";
  } catch (const std::runtime_error& error) {
    EXPECT_STREQ(error.what(), "item 3");
  }
  EXPECT_EQ(loader.next(), expected(3));
  EXPECT_EQ(loader.next(), expected(4));
}

TEST(Loader, ThrowsWhatBeginThrew) {
  BatchMaker<Batch> maker = numbers();
  maker.begin = [](std::uint64_t ticket) -> Batch {
    if (ticket == 1) throw std::runtime_error("no room");
    return Batch(kItems, ticket);
  };
  Loader<Batch> loader(2, 2, 0, 3, std::move(maker));
  EXPECT_EQ(loader.next(), expected(0));
  EXPECT_THROW(loader.next(), std::runtime_error);
  EXPECT_EQ(loader.next(), expected(2));
}

TEST(Loader, EndsWhileBatchesAreMadeAndWait) {
  std::atomic<std::uint64_t> filled{0};
  for (int i = 0; i < 50; ++i) {
    Loader<Batch> loader(3, 8, 0, 1'000'000, numbers([&](std::uint64_t, std::uint64_t) { ++filled; }));
    if (i % 2 == 0) {
      EXPECT_EQ(loader.next(), expected(0));
    }
  }
  EXPECT_LT(filled, 50U * 1'000'000);
}

TEST(PrefetchDepth, IsWhatFitsButNeverOneAlone) {
  EXPECT_EQ(prefetch_depth(1000, 100), 10U);
  EXPECT_EQ(prefetch_depth(1000, 999), 2U);
  EXPECT_EQ(prefetch_depth(0, 100), 2U);
  EXPECT_EQ(prefetch_depth(100, 0), 100U);
}

}  // namespace
}  // namespace cskd::data

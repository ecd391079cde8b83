#include "data/near_pairs.h"

#include <algorithm>
#include <atomic>
#include <stdexcept>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "runtime/philox.h"

namespace cskd::data {
namespace {

using Hashes = std::vector<std::uint64_t>;
using Pairs = std::vector<std::pair<std::uint32_t, std::uint32_t>>;

// Kernighan's way, of which the searches make no use.
int differing_bits(std::uint64_t a, std::uint64_t b) {
  int count = 0;
  for (std::uint64_t left = a ^ b; left != 0; left &= left - 1) ++count;
  return count;
}

Pairs pairs_by_brute_force(const Hashes& hashes, int distance) {
  Pairs pairs;
  for (std::uint32_t first = 0; first < hashes.size(); ++first) {
    for (std::uint32_t second = first + 1; second < hashes.size(); ++second) {
      if (differing_bits(hashes[first], hashes[second]) <= distance) pairs.emplace_back(first, second);
    }
  }
  return pairs;
}

// In order; one that came twice is there twice.
Pairs found(const Hashes& hashes, const NearSearch& search) {
  Pairs pairs;
  find_near_pairs(hashes, search,
                  [&](std::uint32_t first, std::uint32_t second) { pairs.emplace_back(first, second); });
  std::sort(pairs.begin(), pairs.end());
  return pairs;
}

Pairs found(const Hashes& hashes, int distance) { return found(hashes, {.distance = distance}); }

std::uint64_t with_flipped_bits(std::uint64_t hash, int count, runtime::Philox& random) {
  std::uint64_t flipped = 0;
  while (differing_bits(flipped, 0) < count) flipped |= 1ULL << random.below(64);
  return hash ^ flipped;
}

Hashes uniform(std::size_t size, std::uint64_t seed) {
  runtime::Philox random(seed, 0, 0);
  Hashes hashes(size);
  for (std::uint64_t& hash : hashes) hash = random.bits64();
  return hashes;
}

// One bit in eight set, so that most blocks of most hashes have one of a few values.
Hashes sparse(std::size_t size, std::uint64_t seed) {
  runtime::Philox random(seed, 0, 0);
  Hashes hashes(size);
  for (std::uint64_t& hash : hashes) hash = random.bits64() & random.bits64() & random.bits64();
  return hashes;
}

// In 0 to `most` bits different from one centre.
Hashes cluster(std::size_t size, int most, std::uint64_t seed) {
  runtime::Philox random(seed, 0, 0);
  const std::uint64_t centre = random.bits64();
  Hashes hashes(size);
  for (std::uint64_t& hash : hashes) {
    hash = with_flipped_bits(centre, static_cast<int>(random.below(static_cast<std::uint32_t>(most) + 1)), random);
  }
  return hashes;
}

Hashes together(Hashes a, const Hashes& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

class NearPairs : public testing::TestWithParam<int> {
 protected:
  int distance() const { return GetParam(); }
};

TEST_P(NearPairs, FindsCopiesAtEveryDistance) {
  constexpr std::uint32_t kCopies = 20;  // at each distance
  runtime::Philox random(1, 1, 0);
  Hashes hashes = uniform(3000, 1);
  Pairs planted;
  for (int bits = 0; bits <= distance() + 1; ++bits) {
    for (std::uint32_t i = 0; i < kCopies; ++i) {
      const std::uint32_t origin = static_cast<std::uint32_t>(bits) * kCopies + i;
      if (bits <= distance()) planted.emplace_back(origin, static_cast<std::uint32_t>(hashes.size()));
      hashes.push_back(with_flipped_bits(hashes[origin], bits, random));
    }
  }
  const Pairs pairs = found(hashes, distance());
  EXPECT_EQ(pairs, pairs_by_brute_force(hashes, distance()));
  EXPECT_TRUE(std::includes(pairs.begin(), pairs.end(), planted.begin(), planted.end()));
}

TEST_P(NearPairs, FindsThoseOfSetsFarFromUniform) {
  Hashes sharing_most_bits = uniform(1500, 2);
  for (std::uint64_t& hash : sharing_most_bits) hash &= 0x1100000F00010F03;
  for (const Hashes& hashes : {sparse(2000, 3), cluster(1000, 8, 4), sharing_most_bits,
                               together(cluster(700, 20, 5), together(uniform(700, 6), cluster(700, 4, 7)))}) {
    EXPECT_EQ(found(hashes, distance()), pairs_by_brute_force(hashes, distance()));
  }
}

TEST_P(NearPairs, EqualHashesArePairs) {
  Hashes hashes = uniform(1000, 8);
  for (std::size_t i = 0; i < 300; ++i) hashes[3 * i] = hashes[0];
  for (std::size_t i = 0; i < 100; ++i) hashes[3 * i + 1] = hashes[0] ^ 1;
  EXPECT_EQ(found(hashes, distance()), pairs_by_brute_force(hashes, distance()));
  const Hashes equal(400, 0xFFFFFFFFFFFFFFFF);
  EXPECT_EQ(found(equal, distance()).size(), 400U * 399U / 2);
}

TEST_P(NearPairs, OfAFewHashes) {
  EXPECT_TRUE(found({}, distance()).empty());
  EXPECT_TRUE(found({7}, distance()).empty());
  runtime::Philox random(9, 0, 0);
  const std::uint64_t hash = random.bits64();
  EXPECT_EQ(found({hash, with_flipped_bits(hash, distance(), random)}, distance()), (Pairs{{0, 1}}));
  EXPECT_TRUE(found({hash, with_flipped_bits(hash, distance() + 1, random)}, distance()).empty());
  EXPECT_TRUE(found({hash, ~hash}, distance()).empty());
}

TEST_P(NearPairs, SlicesTogetherFindEachOnce) {
  const Hashes hashes = together(sparse(1000, 10), cluster(500, 10, 11));
  const Pairs all = found(hashes, distance());
  for (const std::uint32_t slices : {2U, 3U, 8U, 200U}) {
    Pairs pairs;
    std::size_t most = 0;
    for (std::uint32_t slice = 0; slice < slices; ++slice) {
      const Pairs part = found(hashes, {.distance = distance(), .slice = slice, .slices = slices});
      pairs.insert(pairs.end(), part.begin(), part.end());
      most = std::max(most, part.size());
    }
    std::sort(pairs.begin(), pairs.end());
    EXPECT_EQ(pairs, all) << slices;
    if (distance() > 1) {
      EXPECT_LT(most, all.size()) << slices;
    }
  }
}

TEST_P(NearPairs, SeveralThreadsFindTheSameOneAtATime) {
  const Hashes hashes = together(sparse(2500, 12), uniform(2500, 13));
  std::atomic<int> calls = 0;
  Pairs pairs;
  find_near_pairs(hashes, {.distance = distance(), .threads = 3}, [&](std::uint32_t first, std::uint32_t second) {
    EXPECT_EQ(++calls, 1);
    pairs.emplace_back(first, second);
    --calls;
  });
  std::sort(pairs.begin(), pairs.end());
  EXPECT_EQ(pairs, found(hashes, distance()));
}

TEST_P(NearPairs, BlocksAreEnoughAndNarrow) {
  for (const std::uint64_t size : {2ULL, 1000ULL, 100'000ULL, 10'000'000ULL, 0xFFFFFFFFULL}) {
    EXPECT_GE(near_blocks(size, distance()), std::max(distance() + 2, 6)) << size;
    EXPECT_LE(near_blocks(size, distance()), distance() + 12) << size;
  }
}

INSTANTIATE_TEST_SUITE_P(Distances, NearPairs, testing::Values(0, 1, 4, 6, 8, 12));

// Enough hashes for buckets of buckets; compared by the inner loop alone, since brute force would take too long.
TEST(NearPairsOfMany, AreThoseOfComparingAllWithAll) {
  constexpr int kDistance = 10;
  Hashes hashes = uniform(25'000, 14);
  runtime::Philox random(14, 1, 0);
  for (std::size_t i = 0; i < 1000; ++i) {
    hashes[hashes.size() - 1 - 10 * i] = with_flipped_bits(hashes[10 * i], static_cast<int>(i % 13), random);
  }
  const auto size = static_cast<std::uint32_t>(hashes.size());
  Pairs expected;
  fastest_compare()({hashes.data(), {&size, 1}}, size, kDistance,
                    [&](std::uint32_t first, std::uint32_t second) { expected.emplace_back(first, second); });
  std::sort(expected.begin(), expected.end());
  EXPECT_GT(expected.size(), 800U);
  EXPECT_EQ(found(hashes, {.distance = kDistance, .threads = 2}), expected);
}

TEST(NearPairsOfMany, WhatTheCallerThrowsComesOut) {
  const Hashes hashes = cluster(2000, 4, 15);
  for (const int threads : {1, 3}) {
    EXPECT_THROW(find_near_pairs(hashes, {.distance = 8, .threads = threads},
                                 [](std::uint32_t, std::uint32_t) { throw std::runtime_error("full"); }),
                 std::runtime_error);
  }
}

TEST(CompareBuckets, EveryWayFindsThoseOfEachBucket) {
  const Hashes hashes = sparse(500, 16);
  for (const std::uint32_t most : {500U, 12U}) {
    std::vector<std::uint32_t> ends;
    Pairs expected;
    for (std::uint32_t start = 0, size = 0; start < hashes.size(); start = ends.back(), ++size) {
      ends.push_back(std::min(start + size, static_cast<std::uint32_t>(hashes.size())));
      if (ends.back() - start > most) continue;
      const Hashes bucket(hashes.begin() + start, hashes.begin() + ends.back());
      for (const auto& [first, second] : pairs_by_brute_force(bucket, 9)) {
        expected.emplace_back(start + first, start + second);
      }
    }
    ASSERT_FALSE(expected.empty());
    for (const CompareBuckets compare : {compare_portably, fastest_compare()}) {
      Pairs pairs;
      compare({hashes.data(), ends}, most, 9,
              [&](std::uint32_t first, std::uint32_t second) { pairs.emplace_back(first, second); });
      std::sort(pairs.begin(), pairs.end());
      EXPECT_EQ(pairs, expected) << most;
    }
  }
}

}  // namespace
}  // namespace cskd::data

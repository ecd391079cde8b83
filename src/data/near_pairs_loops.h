// The inner loops of near_pairs.h, which a processor's instruction for counting bits makes faster.
#pragma once

#include <cstdint>
#include <functional>
#include <span>

namespace cskd::data {

// Positions of two hashes, first < second.
using TakePair = std::function<void(std::uint32_t first, std::uint32_t second)>;

struct HashBuckets {
  const std::uint64_t* hashes = nullptr;
  std::span<const std::uint32_t> ends;  // of the buckets, which lie one after another
};

// Compares all with all in each bucket that holds at most `most`, and calls `take` with the places of
// those that are near.
using CompareBuckets = void (*)(const HashBuckets& buckets, std::uint32_t most, int distance, const TakePair& take);

// For every processor.
void compare_portably(const HashBuckets& buckets, std::uint32_t most, int distance, const TakePair& take);

// The one for the processor that this runs on; it finds the same.
CompareBuckets fastest_compare();

}  // namespace cskd::data

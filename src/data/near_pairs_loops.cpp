#include "data/near_pairs_loops.h"

namespace cskd::data {
namespace {

// Two rows of the triangle at a time: what both are compared with is loaded once.
template <typename BitsSet>
[[gnu::always_inline]] inline void compare(const HashBuckets& buckets, std::uint32_t most, int distance,
                                           const TakePair& take, BitsSet bits_set) {
  const std::uint64_t* hashes = buckets.hashes;
  std::uint32_t start = 0;
  for (const std::uint32_t end : buckets.ends) {
    if (end - start <= most) {
      for (std::uint32_t first = start; first + 1 < end; first += 2) {
        const std::uint64_t upper = hashes[first];
        const std::uint64_t lower = hashes[first + 1];
        if (bits_set(upper ^ lower) <= distance) [[unlikely]]
          take(first, first + 1);
        for (std::uint32_t second = first + 2; second < end; ++second) {
          const std::uint64_t hash = hashes[second];
          if (bits_set(upper ^ hash) <= distance) [[unlikely]]
            take(first, second);
          if (bits_set(lower ^ hash) <= distance) [[unlikely]]
            take(first + 1, second);
        }
      }
    }
    start = end;
  }
}

#if defined(__x86_64__)
struct ByInstruction {
  [[gnu::always_inline]] int operator()(std::uint64_t value) const { return __builtin_popcountll(value); }
};

__attribute__((target("popcnt"))) void compare_by_instruction(const HashBuckets& buckets, std::uint32_t most,
                                                              int distance, const TakePair& take) {
  compare(buckets, most, distance, take, ByInstruction());
}
#endif

}  // namespace

void compare_portably(const HashBuckets& buckets, std::uint32_t most, int distance, const TakePair& take) {
  compare(buckets, most, distance, take, [](std::uint64_t value) {
    value -= (value >> 1) & 0x5555555555555555;
    value = (value & 0x3333333333333333) + ((value >> 2) & 0x3333333333333333);
    value = (value + (value >> 4)) & 0x0F0F0F0F0F0F0F0F;
    return static_cast<int>((value * 0x0101010101010101) >> 56);
  });
}

CompareBuckets fastest_compare() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("popcnt") != 0) return compare_by_instruction;
#endif
  return compare_portably;
}

}  // namespace cskd::data

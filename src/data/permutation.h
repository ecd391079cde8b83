// A random order of 0..size-1 that needs no memory: position i of it is computed, not looked up.
//
// A Feistel network of alternating rounds over the smallest number of bits that holds `size`, cut into two parts of
// like width, walked until the value falls below `size` (Black and Rogaway, "Ciphers with Arbitrary Finite Domains",
// CT-RSA 2002): fewer than two steps on average. The round function is a multiplicative mixer keyed by Philox.
#pragma once

#include <array>
#include <cstdint>

namespace cskd::data {

class Permutation {
 public:
  // Equal (seed, stream, item, size) give the same order. REQUIRES: 1 <= size <= 2^62
  Permutation(std::uint64_t seed, std::uint32_t stream, std::uint64_t item, std::uint64_t size);

  std::uint64_t size() const noexcept { return size_; }
  // A bijection of [0, size). REQUIRES: position < size
  std::uint64_t operator()(std::uint64_t position) const;

 private:
  // Functions of a few bits mix less.
  static constexpr int kRounds = 6;
  static constexpr int kRoundsOfFew = 12;

  std::uint64_t size_;
  unsigned low_bits_;
  std::uint64_t low_mask_;
  std::uint64_t high_mask_;
  int rounds_;
  std::array<std::uint64_t, kRoundsOfFew> keys_;
};

}  // namespace cskd::data

// A random order of 0..size-1 that needs no memory: position i of it is computed, not looked up.
//
// A balanced Feistel network over the smallest even number of bits that holds `size`, walked until the value falls
// below `size` (Black and Rogaway, "Ciphers with Arbitrary Finite Domains", CT-RSA 2002): fewer than four steps on
// average. The round function is a multiplicative mixer keyed by Philox.
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
  static constexpr int kRounds = 6;

  std::uint64_t size_;
  unsigned half_bits_;
  std::uint64_t half_mask_;
  std::array<std::uint64_t, kRounds> keys_;
};

}  // namespace cskd::data

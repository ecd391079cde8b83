// Counter-based random numbers: Philox4x32-10 of Salmon, Moraes, Dror and Shaw, "Parallel Random Numbers: As Easy as
// 1, 2, 3", SC 2011. A number is a pure function of its counter and key, never of a thread, a rank or what was drawn
// before.
#pragma once

#include <array>
#include <cstdint>

namespace cskd::runtime {

using PhiloxCounter = std::array<std::uint32_t, 4>;
using PhiloxKey = std::array<std::uint32_t, 2>;

// Ten rounds; 128 random bits.
constexpr PhiloxCounter philox4x32_10(PhiloxCounter counter, PhiloxKey key) noexcept {
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t product0 = std::uint64_t{0xD2511F53} * counter[0];
    const std::uint64_t product1 = std::uint64_t{0xCD9E8D57} * counter[2];
    counter = {static_cast<std::uint32_t>(product1 >> 32) ^ counter[1] ^ key[0], static_cast<std::uint32_t>(product1),
               static_cast<std::uint32_t>(product0 >> 32) ^ counter[3] ^ key[1], static_cast<std::uint32_t>(product0)};
    key[0] += 0x9E3779B9;
    key[1] += 0xBB67AE85;
  }
  return counter;
}

// The numbers of one item: key = seed, counter = (position in the item, stream, 64-bit item). Two generators with the
// same (seed, stream, item) give the same numbers; any other pair is independent. Up to 2^34 32-bit numbers an item.
//
// `stream` separates purposes (augmentation, shuffling, ...) and `item` is whatever identifies the thing that
// randomness is for, e.g. a sample index or a hash of (epoch, sample, view).
class Philox {
 public:
  using result_type = std::uint32_t;

  Philox(std::uint64_t seed, std::uint32_t stream, std::uint64_t item) noexcept
      : key_{static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)},
        counter_{0, stream, static_cast<std::uint32_t>(item), static_cast<std::uint32_t>(item >> 32)} {}

  static constexpr result_type min() noexcept { return 0; }
  static constexpr result_type max() noexcept { return 0xFFFFFFFF; }

  result_type operator()() noexcept {
    if (next_ == 4) {
      block_ = philox4x32_10(counter_, key_);
      ++counter_[0];
      next_ = 0;
    }
    return block_[next_++];
  }

  std::uint64_t bits64() noexcept {
    const std::uint64_t high = (*this)();
    return (high << 32) | (*this)();
  }

  // Uniform in [0, 1): multiples of 2^-53, resp. 2^-24.
  double uniform() noexcept { return static_cast<double>(bits64() >> 11) * 0x1.0p-53; }
  float uniform_float() noexcept { return static_cast<float>((*this)() >> 8) * 0x1.0p-24F; }

  // Uniform in [low, high).
  double uniform(double low, double high) noexcept { return low + (high - low) * uniform(); }

  // Uniform in [0, bound), without bias (Lemire, "Fast Random Integer Generation in an Interval", 2019). REQUIRES:
  // bound > 0
  std::uint32_t below(std::uint32_t bound) noexcept {
    std::uint64_t product = std::uint64_t{(*this)()} * bound;
    if (static_cast<std::uint32_t>(product) < bound) {
      const std::uint32_t threshold = (0U - bound) % bound;
      while (static_cast<std::uint32_t>(product) < threshold) product = std::uint64_t{(*this)()} * bound;
    }
    return static_cast<std::uint32_t>(product >> 32);
  }

  // Normal with mean 0 and standard deviation 1 (Box-Muller; uses libm, so equal only where libm is the same).
  double normal() noexcept;

 private:
  PhiloxKey key_;
  PhiloxCounter counter_;
  PhiloxCounter block_{};
  unsigned next_ = 4;
};

}  // namespace cskd::runtime

#include "data/permutation.h"

#include <algorithm>
#include <bit>

#include "runtime/check.h"
#include "runtime/philox.h"

namespace cskd::data {

Permutation::Permutation(std::uint64_t seed, std::uint32_t stream, std::uint64_t item, std::uint64_t size)
    : size_(size) {
  CSKD_CHECK(size >= 1 && size <= (1ULL << 62), "a permutation of {} items", size);
  const auto bits = static_cast<unsigned>(std::bit_width(size - 1));
  half_bits_ = std::max(1U, (bits + 1) / 2);
  half_mask_ = (1ULL << half_bits_) - 1;
  runtime::Philox random(seed, stream, item);
  for (std::uint64_t& key : keys_) key = random.bits64();
}

std::uint64_t Permutation::operator()(std::uint64_t position) const {
  CSKD_CHECK(position < size_, "position {} of {}", position, size_);
  do {
    std::uint64_t left = position >> half_bits_;
    std::uint64_t right = position & half_mask_;
    for (const std::uint64_t key : keys_) {
      std::uint64_t mixed = (right ^ key) * 0x9E3779B97F4A7C15;
      mixed ^= mixed >> 32;
      mixed *= 0xD6E8FEB86659FD93;
      left ^= (mixed >> 32) & half_mask_;
      std::swap(left, right);
    }
    position = (left << half_bits_) | right;
  } while (position >= size_);
  return position;
}

}  // namespace cskd::data

#include "data/permutation.h"

#include <bit>

#include "runtime/check.h"
#include "runtime/philox.h"

namespace cskd::data {

namespace {

std::uint64_t mixed(std::uint64_t value, std::uint64_t key) {
  std::uint64_t mixed = (value ^ key) * 0x9E3779B97F4A7C15;
  mixed ^= mixed >> 32;
  mixed *= 0xD6E8FEB86659FD93;
  return mixed >> 32;
}

}  // namespace

Permutation::Permutation(std::uint64_t seed, std::uint32_t stream, std::uint64_t item, std::uint64_t size)
    : size_(size) {
  CSKD_CHECK(size >= 1 && size <= (1ULL << 62), "a permutation of {} items", size);
  const auto bits = static_cast<unsigned>(std::bit_width(size - 1));
  low_bits_ = (bits + 1) / 2;
  low_mask_ = (1ULL << low_bits_) - 1;
  high_mask_ = (1ULL << (bits - low_bits_)) - 1;
  rounds_ = bits < 12 ? kRoundsOfFew : kRounds;
  runtime::Philox random(seed, stream, item);
  for (std::uint64_t& key : keys_) key = random.bits64();
}

std::uint64_t Permutation::operator()(std::uint64_t position) const {
  CSKD_CHECK(position < size_, "position {} of {}", position, size_);
  do {
    std::uint64_t high = position >> low_bits_;
    std::uint64_t low = position & low_mask_;
    for (int round = 0; round < rounds_; round += 2) {
      high ^= mixed(low, keys_[round]) & high_mask_;
      low ^= mixed(high, keys_[round + 1]) & low_mask_;
    }
    position = (high << low_bits_) | low;
  } while (position >= size_);
  return position;
}

}  // namespace cskd::data

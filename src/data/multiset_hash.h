// A hash of which numbers were seen, and how often each, in whatever order: two runs that used the same samples have
// the same. Sums of a keyed hash of each number modulo 2^64, twice (MSet-Add-Hash of Clarke, Devadas, van Dijk, Gassend
// and Suh, "Incremental Multiset Hash Functions", ASIACRYPT 2003; with Philox for the keyed hash).
#pragma once

#include <array>
#include <cstdint>

#include "runtime/philox.h"

namespace cskd::data {

class MultisetHash {
 public:
  void add(std::uint64_t number) {
    runtime::Philox random(kKey, 0, number);
    for (std::uint64_t& sum : sums_) sum += random.bits64();
  }
  // All of the other multiset, too.
  void add(const MultisetHash& other) {
    for (std::size_t i = 0; i < sums_.size(); ++i) sums_[i] += other.sums_[i];
  }
  bool operator==(const MultisetHash&) const = default;

 private:
  static constexpr std::uint64_t kKey = 0x6373'6B64'6D75'6C74;

  std::array<std::uint64_t, 2> sums_{};
};

}  // namespace cskd::data

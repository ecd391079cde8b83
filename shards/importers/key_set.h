// The set of keys that were seen: to find what a list names twice, in about 12 bytes a key.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

namespace cskd::shards {

// A set of 64-bit hashes, not of the keys themselves: among n keys the chance that two different ones are taken for the
// same is n^2 / 2^65, 3e-6 for 10^7 of them.
class KeySet {
 public:
  // Whether the key is new.
  bool insert(std::string_view key);

 private:
  // Open addressing. Of 64 tables only one at a time has to be held twice while it grows.
  struct Table {
    std::vector<std::uint64_t> slots;  // 0 is empty
    size_t count = 0;

    bool insert(std::uint64_t hash);
    void grow();
  };
  std::array<Table, 64> tables_;
};

}  // namespace cskd::shards

#include "shards/importers/key_set.h"

#include <algorithm>
#include <utility>

#include "runtime/content_hash.h"

namespace cskd::shards {

bool KeySet::insert(std::string_view key) {
  const std::uint64_t hash = runtime::content_hash(key).prefix();
  return tables_[hash % tables_.size()].insert(std::max<std::uint64_t>(hash, 1));
}

bool KeySet::Table::insert(std::uint64_t hash) {
  if (count * 5 >= slots.size() * 4) grow();
  // The upper bits choose the slot, so that the number of slots need not be a power of two.
  size_t slot = ((hash >> 32) * slots.size()) >> 32;
  for (; slots[slot] != 0; slot = slot + 1 == slots.size() ? 0 : slot + 1) {
    if (slots[slot] == hash) return false;
  }
  slots[slot] = hash;
  ++count;
  return true;
}

void KeySet::Table::grow() {
  const std::vector<std::uint64_t> old = std::exchange(slots, std::vector<std::uint64_t>(slots.size() * 3 / 2 + 16));
  count = 0;
  for (const std::uint64_t hash : old) {
    if (hash != 0) insert(hash);
  }
}

}  // namespace cskd::shards

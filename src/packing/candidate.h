// The order in which one may stay of two pictures that (nearly) equal each other: Note [Who stays] of
// packing/duplicates.h.
#pragma once

#include <cstdint>

#include "packing/sample_index.h"

namespace cskd::packing {

// What decides about a picture, in 8 bytes: millions are held at a time.
struct Candidate {
  std::uint64_t number : 48 = 0;  // of its record
  std::uint64_t split : 8 = 0;
  std::uint64_t packed : 8 = 0;

  Candidate() = default;
  Candidate(std::uint64_t record_number, const IndexRecord& record)
      : number(record_number & ((std::uint64_t{1} << 48) - 1)),
        split(static_cast<std::uint8_t>(record.split)),
        packed(record.packed) {}

  shards::Split in_split() const { return static_cast<shards::Split>(split); }
  bool is_held_out() const { return in_split() == shards::Split::kTest || in_split() == shards::Split::kValidation; }
};

// Packed rows come first in the index, and so have the lower numbers.
inline bool stays_before(const Candidate& a, const Candidate& b) {
  return a.split != b.split ? a.split > b.split : a.number < b.number;
}

// Whether `worse` may go because of `better`. REQUIRES: stays_before(better, worse)
inline bool may_drop(const Candidate& better, const Candidate& worse) {
  if (worse.in_split() == shards::Split::kTest) return false;
  return worse.in_split() != shards::Split::kValidation || better.in_split() == shards::Split::kTest;
}

}  // namespace cskd::packing

// Pictures that packing leaves out because of other pictures: a file of records, sorted by dropped, each dropped once.
#pragma once

#include <cstdint>

#include "runtime/record_file.h"

namespace cskd::packing {

// Why a picture is left out.
enum class DropKind : std::uint32_t {
  kPacked = 0,  // it lies in a shard already
  kDuplicate = 1,
  kNearDuplicate = 2,
  kLeaked = 3,        // the same pixels as a test or validation picture
  kNearlyLeaked = 4,  // nearly equals one
};

struct Drop {
  std::uint64_t dropped = 0;  // numbers of records of the index
  std::uint64_t kept = 0;     // the picture that it equals
  DropKind kind = DropKind::kPacked;
  std::uint32_t unused = 0;

  bool operator==(const Drop&) const = default;
};

struct ByDropped {
  bool operator()(const Drop& a, const Drop& b) const { return a.dropped < b.dropped; }
};

using DropList = runtime::RecordFile<Drop>;

// Looks up the drops of records that are asked for in rising order.
class DropCursor {
 public:
  // The list must outlive it.
  explicit DropCursor(const DropList& drops) : cursor_(drops) {}

  // Null when the record is not lost; valid until the next call.
  const Drop* of(std::uint64_t number);

 private:
  runtime::RecordCursor<Drop> cursor_;
};

}  // namespace cskd::packing

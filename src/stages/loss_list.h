// Pictures that packing leaves out because of other pictures: a file of records, sorted by loser, each loser once.
#pragma once

#include <cstdint>

#include "runtime/record_file.h"

namespace cskd::stages {

// Why a picture is left out.
enum class LossKind : std::uint32_t {
  kPacked = 0,  // it lies in a shard already
  kDuplicate = 1,
  kNearDuplicate = 2,
  kLeaked = 3,        // the same pixels as a test or validation picture
  kNearlyLeaked = 4,  // nearly equals one
};

struct Loss {
  std::uint64_t loser = 0;   // numbers of records of the index
  std::uint64_t winner = 0;  // the picture that it equals
  LossKind kind = LossKind::kPacked;
  std::uint32_t unused = 0;

  bool operator==(const Loss&) const = default;
};

struct ByLoser {
  bool operator()(const Loss& a, const Loss& b) const { return a.loser < b.loser; }
};

using LossList = runtime::RecordFile<Loss>;

// Looks up the losses of records that are asked for in rising order.
class LossCursor {
 public:
  // The list must outlive it.
  explicit LossCursor(const LossList& losses) : cursor_(losses) {}

  // Null when the record is not lost; valid until the next call.
  const Loss* of(std::uint64_t number);

 private:
  runtime::RecordCursor<Loss> cursor_;
};

}  // namespace cskd::stages

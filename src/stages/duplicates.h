// Which pictures are left out because another one (nearly) equals them.
//
// Note [Who stays]
// Of pictures with the same pixels one stays, and of pictures that nearly equal each other (data/perceptual_hash.h) no
// two stay. A test picture stays before a validation picture, then training, then unlabelled ones; among equals the one
// that is packed already, then the order of sources and of their lists. Official test splits are kept whole: a test
// picture never goes, and a validation picture only because of a test picture. Whatever goes because of a test or
// validation picture leaks; the rest is a duplicate.
//
// A near duplicate goes because of a picture that stays, so that a chain of slightly differing pictures keeps every
// other link. Only where the perceptual hashes are equal, a picture may go because of one that goes as well.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "runtime/world.h"
#include "stages/sample_index.h"

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
  std::uint32_t loser = 0;   // numbers of records
  std::uint32_t winner = 0;  // the picture that it equals
  LossKind kind = LossKind::kPacked;

  bool operator==(const Loss&) const = default;
};

// Looks up the losses of records that are asked for in rising order.
class LossCursor {
 public:
  // For records from `first` on.
  explicit LossCursor(const std::vector<Loss>& losses, std::uint64_t first = 0);

  // Null when the record is not lost.
  const Loss* of(std::uint64_t number);

 private:
  std::vector<Loss>::const_iterator next_, end_;
};

struct DuplicateRules {
  int distance = 6;       // most differing bits of perceptual hashes
  bool drop_near = true;  // near duplicates that do not leak go, too
  int threads = 1;        // of this process
};

// All losses, sorted by loser, each loser once. Collective: ranks share the search, and all get the result. A row of an
// existing shard among the losers is to be withdrawn; the picture that it was packed from is lost in the same way.
// Memory: about 40 bytes a picture, and 200 MB. Throws DataError when there are more than 4,294,967,295 pictures, or
// more than 50 million pairs of near duplicates.
std::vector<Loss> find_losses(const SampleIndex& index, const DuplicateRules& rules, runtime::World& world);

}  // namespace cskd::stages

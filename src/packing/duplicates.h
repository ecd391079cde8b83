// Pictures that are dropped because another one (nearly) equals them.
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
//
// Note [Memory of packing]
// A corpus may hold more pictures than fit into memory. What is decided about all of them at once is sorted outside of
// memory (runtime/external_sort.h): the pictures by their pixels, by their perceptual hash, and by their place in the
// shards; the pairs that nearly equal each other; the drops. The search for near pairs runs on hashes in memory, and
// on every two parts of them where there are more. What remains is a bit for each picture on rank 0.
#pragma once

#include <cstdint>
#include <filesystem>

#include "packing/drop_list.h"
#include "packing/sample_index.h"
#include "runtime/world.h"

namespace cskd::packing {

struct DuplicateRules {
  int distance = 6;                     // most differing bits of perceptual hashes
  bool drop_near = true;                // near duplicates that do not leak go, too
  int threads = 1;                      // of this process
  std::uint64_t memory = 512ULL << 20;  // bytes of this process for what is compared
};

// All drops. Collective: ranks share the search, and all get the result, which lies in `folder` as other working files
// do meanwhile; it must be empty of them and seen by all ranks. A row of an existing shard among the dropped pictures
// is to be withdrawn; the picture that it was packed from is lost in the same way. Throws DataError when there are more
// than 50 million pairs of near duplicates and 50 for each picture, Error when the disk is full.
DropList find_drops(const SampleIndex& index, const DuplicateRules& rules, runtime::World& world,
                    const std::filesystem::path& folder);

}  // namespace cskd::packing

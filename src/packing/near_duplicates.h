// The part of packing/duplicates.h that compares perceptual hashes.
#pragma once

#include <filesystem>

#include "packing/duplicates.h"

namespace cskd::packing {

// Losses among the pictures that are not in `exact`, written by rank 0 to the file `path`. Working files lie beside it.
// Collective; when it returns, all ranks see the file. Throws as find_drops().
void find_near_drops(const SampleIndex& index, const DropList& exact, const DuplicateRules& rules,
                     runtime::World& world, const std::filesystem::path& path);

}  // namespace cskd::packing

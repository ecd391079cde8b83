// The part of stages/duplicates.h that compares perceptual hashes.
#pragma once

#include <filesystem>

#include "stages/duplicates.h"

namespace cskd::stages {

// Losses among the pictures that are not in `exact`, written by rank 0 to the file `path`. Working files lie beside it.
// Collective; when it returns, all ranks see the file. Throws as find_losses().
void find_near_losses(const SampleIndex& index, const LossList& exact, const DuplicateRules& rules,
                      runtime::World& world, const std::filesystem::path& path);

}  // namespace cskd::stages

// The index of stages/sample_index.h for a packing: what is packed already, and what the survey found.
#pragma once

#include <filesystem>
#include <optional>

#include "shards/manifest.h"
#include "stages/packing_context.h"
#include "stages/sample_index.h"
#include "stages/survey.h"

namespace cskd::stages {

// Writes it to `folder`, whose ranks each write a part. Collective. Throws as Survey::read() and for_each_packed_row(),
// Error when the disk is full.
SampleIndex write_index(const PackingContext& context, const Survey& survey,
                        const std::optional<shards::Manifest>& packed, const std::filesystem::path& folder);

}  // namespace cskd::stages

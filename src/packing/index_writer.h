// The index of packing/sample_index.h for a packing: what is packed already, and what the survey found.
#pragma once

#include <filesystem>
#include <optional>

#include "packing/packing_context.h"
#include "packing/sample_index.h"
#include "packing/survey.h"
#include "shards/manifest.h"

namespace cskd::packing {

// Writes it to `folder`, whose ranks each write a part. Collective. Throws as Survey::read() and for_each_packed_row(),
// Error when the disk is full.
SampleIndex write_index(const PackingContext& context, const Survey& survey,
                        const std::optional<shards::Manifest>& packed, const std::filesystem::path& folder);

}  // namespace cskd::packing

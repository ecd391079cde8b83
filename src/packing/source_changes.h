// Rows of existing shards that their sources no longer hold as they were packed.
//
// Note [Identity of a picture]
// A picture is its source, key, bytes, label and split. A row is stale when the source lists its key with other bytes,
// another label or in another split, or no more at all. Stale rows are withdrawn before anything else is decided, so
// that packing goes on as if they had never been packed: the new picture of that key is packed, and what was a
// duplicate of a stale row alone is one no more. Modification times and sizes decide which pictures are read again
// (packing/survey.h).
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <vector>

#include "packing/packing_context.h"
#include "packing/survey.h"
#include "shards/manifest.h"

namespace cskd::packing {

// Rows of a source that were withdrawn.
struct SourceChanges {
  std::uint64_t changed = 0;     // other bytes, or damaged by now
  std::uint64_t relabelled = 0;  // the same bytes with another label or split
  std::uint64_t gone = 0;        // with packing.when_gone = "keep" they are counted only
};

// Withdraws the stale rows of `packed`, and takes out shards without any other row. Collective; the counts, by source
// of the survey, and the manifest are the same on every rank. Working files lie in `folder`. Throws as ImageShardReader
// and Survey::read(), Error when the disk is full.
std::vector<SourceChanges> withdraw_stale_rows(const PackingContext& context, const Survey& survey,
                                               const std::filesystem::path& folder,
                                               std::optional<shards::Manifest>& packed);

}  // namespace cskd::packing

// Packs the sources of a configuration into image shards.
#pragma once

#include "run/context.h"
#include "runtime/inputs.h"

namespace cskd::packing {

// <run>/shards: shards, manifest.cskd, quarantine.jsonl, dropped.jsonl and passed_over.jsonl, and the survey
// (survey.h). Collective.
//
// Note [Growing corpora]
// Shards are never rewritten. Pictures and sources that were added since lie in shards of their own (a generation of
// the manifest); where they take precedence over a packed picture (duplicates.h, Note [Who stays]), its row is
// withdrawn in the manifest. A picture that went from its source stays packed; one whose contents changed is packed
// beside the old. All that shards hold is checked again by their hashes at each start.
//
// Unless context.looks_for_new, a complete stage of the same configuration is left as it is, without a look at its
// sources. Throws DataError when a source is missing or empty, ranks see different sources, or more than
// packing.max_fault_rate of the pictures are faulty; UsageError when the folder was packed with other settings. Facts:
// packed, duplicates, near_duplicates, leaked, quarantined, added (by this call), bytes, shards, and the same by
// source.
run::StageOutcome run_shard(const run::Context& context);

// What decides about its result: sources, settings of packing, and the seed.
runtime::Inputs shard_inputs(const config::Config& config);

}  // namespace cskd::packing

// Packs the sources of a configuration into image shards.
#pragma once

#include "stages/context.h"

namespace cskd::stages {

// Digest of the keys that decide what is packed.
runtime::ContentHash shard_inputs(const config::Config& config);

// <run>/shards: shards, manifest.cskd, quarantine.jsonl and dropped.jsonl (source, key, reason). Collective. Shards
// that are whole and hold what they should are kept. Throws DataError when a source is missing or empty, sources differ
// between ranks, or more than packing.max_fault_rate of the pictures are faulty. Facts: packed, duplicates,
// quarantined, leaked.
StageOutcome run_shard(const Context& context);

}  // namespace cskd::stages

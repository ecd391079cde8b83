// Shards that an earlier packing left, as far as they can be kept when it goes on or pictures are added.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "packing/packing_context.h"
#include "packing/sample_index.h"
#include "shards/manifest.h"

namespace cskd::packing {

// Keys of the configuration that decide what is packed, as the manifest records them.
std::vector<shards::Manifest::Setting> packing_settings(const config::Config& config);
std::vector<shards::Manifest::Setting> source_settings(const config::Source& source);

// The manifest of <run>/shards with the shards that are whole; nothing when everything is to be packed afresh (there is
// none, or the only packing lost a shard: then the others are found again by their plans). A shard of several packings
// that is lost is left out with a warning, and its pictures are packed again. Reads and hashes every shard. Collective.
// Throws UsageError that names the keys when it was made with other settings, or lacks a source.
std::optional<shards::Manifest> find_packed_corpus(const PackingContext& context);

// The sources of the manifest, then those of the configuration that it does not know.
std::vector<config::Source> ordered_sources(const config::Config& config,
                                            const std::optional<shards::Manifest>& packed);

// Called with a record for each row that is not withdrawn, its key, and the hash of its bytes.
using TakePackedRow = std::function<void(const IndexRecord&, const std::string& key, const runtime::ContentHash& hash)>;
// In the order of the manifest. Throws as ImageShardReader.
void for_each_packed_row(const std::filesystem::path& folder, const shards::Manifest& manifest,
                         const TakePackedRow& take);

// How many there are.
std::uint64_t count_packed_rows(const shards::Manifest& manifest);

}  // namespace cskd::packing

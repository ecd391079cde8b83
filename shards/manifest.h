// The list of all shards of a corpus. Format: shards/FORMAT.md.
#pragma once

#include <filesystem>

#include "runtime/content_hash.h"
#include "shards/manifest.pb.h"

namespace cskd::shards {

constexpr std::uint32_t kManifestVersion = 2;
constexpr const char* kManifestFile = "manifest.cskd";

// Written atomically as <folder>/manifest.cskd.
void write_manifest(const std::filesystem::path& folder, const Manifest& manifest);

// Reads and checks it: numbers in range, datasets inside their files, file names without folders, labels of one width.
// Throws Error when it cannot be read, DataError when it is damaged or its corpus did not pass the leakage gate.
Manifest read_manifest(const std::filesystem::path& folder);

// Digest of all that a training run sees of a corpus: plans, sources, splits.
runtime::ContentHash corpus_digest(const Manifest& manifest);

}  // namespace cskd::shards

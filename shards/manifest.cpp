#include "shards/manifest.h"

#include <cmath>

#include <fmt/format.h>

#include "runtime/error.h"
#include "runtime/sealed_file.h"
#include "runtime/shared_files.h"
#include "shards/image_shard/format.h"
#include "shards/sample.h"

namespace cskd::shards {
namespace {

constexpr const char* kMagic = "CSKDMANI";

[[noreturn]] void fail(const std::filesystem::path& path, const std::string& what) {
  throw runtime::DataError(fmt::format("{}: {}; make it again with 'cskd shard'", path.native(), what));
}

void check_source(const Manifest::Source& source, const std::filesystem::path& path) {
  float previous = -INFINITY;
  for (const float centre : source.bin_centres()) {
    if (!std::isfinite(centre) || centre <= previous) {
      fail(path, fmt::format("bin centres of source '{}' do not rise", source.name()));
    }
    previous = centre;
  }
}

void check_shard(const Manifest::Shard& shard, const Manifest& manifest, const std::filesystem::path& path) {
  const auto refuse = [&](const std::string& what) { fail(path, fmt::format("shard '{}': {}", shard.file(), what)); };
  if (shard.file().empty() || shard.file().find('/') != std::string::npos || shard.file().starts_with('.')) {
    refuse("not a plain file name");
  }
  if (shard.samples() == 0 || shard.samples() > kMostSamples) refuse(fmt::format("{} samples", shard.samples()));
  if (shard.source() >= static_cast<std::uint32_t>(manifest.sources_size())) refuse("unknown source");
  if (shard.split() > static_cast<std::uint32_t>(Split::kTest)) refuse("unknown split");
  const auto bins = static_cast<std::uint32_t>(manifest.sources(static_cast<int>(shard.source())).bin_centres_size());
  if (shard.bins() != 0 && shard.bins() != bins) refuse("its labels have another number of bins than its source");
  if (shard.file_hash().size() != 16 || shard.plan().size() != 16) refuse("a hash that is not 16 bytes long");
  if (shard.file_size() > (1ULL << 40) || shard.total_bytes() > shard.file_size() ||
      shard.key_bytes() > shard.file_size()) {
    refuse("impossible sizes");
  }
  std::uint64_t next = 0;
  for (const std::uint32_t row : shard.withdrawn()) {
    if (row < next || row >= shard.samples()) refuse("its withdrawn rows do not rise or lie outside");
    next = std::uint64_t{row} + 1;
  }
  for (const Dataset& dataset : datasets_of(shard)) {
    if (dataset.offset > shard.file_size() || dataset.length > shard.file_size() - dataset.offset) {
      refuse(fmt::format("{} lies outside of the file", dataset.name));
    }
  }
}

}  // namespace

void write_manifest(const std::filesystem::path& folder, const Manifest& manifest) {
  runtime::write_sealed_file(folder / kManifestFile, kMagic, kManifestVersion, manifest.SerializeAsString());
}

Manifest read_manifest(const std::filesystem::path& folder) {
  const std::filesystem::path path = folder / kManifestFile;
  if (!runtime::wait_until_there(path)) {
    throw runtime::DataError(fmt::format("{} is missing; 'cskd shard' writes it", path.native()));
  }
  Manifest manifest;
  if (!manifest.ParseFromString(runtime::read_sealed_file(path, kMagic, kManifestVersion))) {
    fail(path, "its message cannot be parsed");
  }
  if (!manifest.leak_gate_passed()) fail(path, "its corpus was never compared with the test pictures");
  for (const Manifest::Source& source : manifest.sources()) check_source(source, path);
  for (const Manifest::Shard& shard : manifest.shards()) check_shard(shard, manifest, path);
  return manifest;
}

runtime::ContentHash corpus_digest(const Manifest& manifest) {
  runtime::ContentHasher hasher;
  for (const Manifest::Source& source : manifest.sources()) {
    hasher.add_field(source.name());
    const double weight = source.weight();
    hasher.add(std::as_bytes(std::span(&weight, 1)));
    for (const float centre : source.bin_centres()) hasher.add(std::as_bytes(std::span(&centre, 1)));
  }
  for (const Manifest::Shard& shard : manifest.shards()) {
    hasher.add_field(shard.plan());
    hasher.add_field(shard.source());
    hasher.add_field(shard.split());
    for (const std::uint32_t row : shard.withdrawn()) hasher.add_field(row);
  }
  return hasher.hash();
}

}  // namespace cskd::shards

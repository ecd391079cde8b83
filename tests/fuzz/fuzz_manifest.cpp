// A manifest whose seal is right but whose message is made up: refused, or every dataset lies inside its shard.
#include "runtime/check.h"
#include "runtime/error.h"
#include "runtime/sealed_file.h"
#include "shards/image_shard/format.h"
#include "shards/manifest.h"
#include "tests/fuzz/scratch_file.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cskd;
  const std::filesystem::path& folder = fuzz::scratch_folder();
  // The first bit says whether the file as a whole is made up.
  if (size > 0 && (data[0] & 1U) != 0) {
    fuzz::write(folder / shards::kManifestFile, fuzz::text_of(data + 1, size - 1));
  } else {
    runtime::ContentHash hash = runtime::content_hash(fuzz::text_of(data + (size > 0), size - (size > 0)));
    const std::uint64_t length = size - (size > 0);
    std::string file("CSKDMANI");
    const std::uint32_t version[2] = {shards::kManifestVersion, 0};
    file.append(reinterpret_cast<const char*>(version), 8);
    file.append(reinterpret_cast<const char*>(&length), 8);
    file.append(reinterpret_cast<const char*>(hash.bytes.data()), 16);
    file.append(fuzz::text_of(data + (size > 0), length));
    fuzz::write(folder / shards::kManifestFile, file);
  }
  try {
    const shards::Manifest manifest = shards::read_manifest(folder);
    for (const shards::Manifest::Shard& shard : manifest.shards()) {
      for (const shards::Dataset& dataset : shards::datasets_of(shard)) {
        CSKD_CHECK(dataset.offset <= shard.file_size() && dataset.length <= shard.file_size() - dataset.offset,
                   "{} lies outside", dataset.name);
      }
    }
    static_cast<void>(shards::corpus_digest(manifest));
  } catch (const runtime::Error&) {
    return 0;
  }
  return 0;
}

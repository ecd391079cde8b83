#include "shards/importers/importer.h"

#include <algorithm>

#include <fmt/format.h>

#include "runtime/check.h"
#include "runtime/error.h"

namespace cskd::shards {

bool has_picture_extension(const std::filesystem::path& file) {
  std::string extension = file.extension().native();
  std::transform(extension.begin(), extension.end(), extension.begin(),
                 [](unsigned char c) { return static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c); });
  return extension == ".jpg" || extension == ".jpeg" || extension == ".jpe" || extension == ".png" ||
         extension == ".webp";
}

Listing list_source(const config::Source& source) {
  try {
    Listing listing;
    switch (source.kind()) {
      case config::Source::folder:
        listing = list_folder(source.path());
        break;
      case config::Source::webdataset:
        listing = list_webdataset(source.path());
        break;
      case config::Source::ava:
        listing = list_ava(source.path());
        break;
      default:
        CSKD_CHECK(false, "source kind {}", static_cast<int>(source.kind()));
    }
    if (listing.entries.empty()) {
      throw runtime::DataError(
          fmt::format("{} holds no picture (.jpg, .jpeg, .png, .webp): is the path right?", source.path()));
    }
    const auto by_key = [](const Entry& a, const Entry& b) { return a.key < b.key; };
    std::sort(listing.entries.begin(), listing.entries.end(), by_key);
    const auto same_key = [](const Entry& a, const Entry& b) { return a.key == b.key; };
    const auto twice = std::adjacent_find(listing.entries.begin(), listing.entries.end(), same_key);
    if (twice != listing.entries.end()) {
      throw runtime::DataError(fmt::format("{} is listed twice in {}", twice->key, source.path()));
    }
    return listing;
  } catch (const std::exception&) {
    runtime::rethrow_with_context(fmt::format("source '{}' cannot be used", source.name()));
  }
}

}  // namespace cskd::shards

#include <algorithm>

#include <fmt/format.h>

#include "runtime/error.h"
#include "shards/importers/importer.h"
#include "shards/importers/tar_index.h"

namespace cskd::shards {

Listing list_webdataset(const std::filesystem::path& path) {
  std::vector<std::filesystem::path> archives;
  if (std::filesystem::is_directory(path)) {
    for (const auto& item : std::filesystem::recursive_directory_iterator(path)) {
      if (item.path().extension() == ".tar" && item.is_regular_file()) archives.push_back(item.path());
    }
    std::sort(archives.begin(), archives.end());
    if (archives.empty()) throw runtime::DataError(fmt::format("{} holds no .tar file", path.native()));
  } else if (std::filesystem::is_regular_file(path)) {
    archives.push_back(path);
  } else {
    throw runtime::DataError(fmt::format("{} is neither a folder nor a tar file, or is not there", path.native()));
  }

  Listing listing;
  for (const std::filesystem::path& archive : archives) {
    const std::string name = archive == path ? path.filename().native() : archive.lexically_relative(path).native();
    for (const TarMember& member : index_tar(runtime::InputFile(archive))) {
      if (!has_picture_extension(member.name)) continue;
      listing.entries.push_back(
          {.key = name + "/" + member.name, .file = archive.native(), .offset = member.offset, .size = member.size});
    }
  }
  return listing;
}

}  // namespace cskd::shards

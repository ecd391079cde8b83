#include <set>
#include <utility>

#include <fmt/format.h>
#include <sys/stat.h>

#include "runtime/error.h"
#include "shards/importers/importer.h"

namespace cskd::shards {
namespace {

using FolderId = std::pair<dev_t, ino_t>;

void visit(const std::filesystem::path& folder, const std::filesystem::path& root, std::set<FolderId>& visited,
           Listing& listing) {
  struct stat status {};
  if (::stat(folder.c_str(), &status) != 0) {
    runtime::throw_system_error(fmt::format("cannot examine {}", folder.native()), errno);
  }
  if (!visited.insert({status.st_dev, status.st_ino}).second) return;
  std::error_code error;
  std::filesystem::directory_iterator it(folder, error);
  if (error) runtime::throw_system_error(fmt::format("cannot read folder {}", folder.native()), error.value());
  // Sorted, so that of two ways to one folder the same is taken every time.
  std::set<std::filesystem::path> paths;
  for (const std::filesystem::directory_iterator end; it != end; it.increment(error)) {
    if (error) runtime::throw_system_error(fmt::format("cannot read folder {}", folder.native()), error.value());
    if (!it->path().filename().native().starts_with('.')) paths.insert(it->path());
  }
  for (const std::filesystem::path& path : paths) {
    struct stat found {};
    if (::stat(path.c_str(), &found) != 0) {
      if (has_picture_extension(path)) {
        listing.faults.push_back({path.lexically_relative(root).native(), "a link to nothing"});
      }
    } else if (S_ISDIR(found.st_mode)) {
      visit(path, root, visited, listing);
    } else if (S_ISREG(found.st_mode) && has_picture_extension(path)) {
      listing.entries.push_back({.key = path.lexically_relative(root).native(),
                                 .file = path.native(),
                                 .size = static_cast<std::uint64_t>(found.st_size)});
    }
  }
}

}  // namespace

Listing list_folder(const std::filesystem::path& folder) {
  if (!std::filesystem::is_directory(folder)) {
    throw runtime::DataError(fmt::format("{} is not a folder, or is not there", folder.native()));
  }
  Listing listing;
  std::set<FolderId> visited;
  visit(folder, folder, visited, listing);
  return listing;
}

}  // namespace cskd::shards

#include "shards/importers/layout.h"

#include <filesystem>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "runtime/error.h"
#include "shards/importers/file_status.h"

namespace cskd::shards {
namespace {

std::string below(const std::string& folder, const std::string& place) {
  return place.empty() ? folder : (std::filesystem::path(folder) / place).native();
}

std::string first_of(const config::Source& source, const std::vector<std::string>& places, FileStatus::Kind kind) {
  const std::string folder = source_path(source);
  for (const std::string& place : places) {
    std::string path = below(folder, place);
    if (file_status(path).kind == kind) return path;
  }
  const bool is_folder = kind == FileStatus::Kind::kFolder;
  throw runtime::DataError(fmt::format("{} has no {}; a source of kind \"{}\" needs {}{}", folder,
                                       fmt::join(places, ", no "), config::Source::Kind_Name(source.kind()),
                                       is_folder ? "its folder of images" : "this file",
                                       is_folder ? ", or the key images that says where it is" : ""));
}

}  // namespace

std::string source_path(const config::Source& source) { return std::filesystem::absolute(source.path()).native(); }

std::string layout_file(const config::Source& source, const std::vector<std::string>& places) {
  return first_of(source, places, FileStatus::Kind::kFile);
}

std::string layout_images(const config::Source& source, const std::vector<std::string>& places) {
  if (source.images().empty()) return first_of(source, places, FileStatus::Kind::kFolder);
  std::string folder = std::filesystem::absolute(source.images()).native();
  if (file_status(folder).kind != FileStatus::Kind::kFolder) {
    throw runtime::DataError(fmt::format("{} does not exist or is not a folder: the key images of source '{}' names it",
                                         folder, source.name()));
  }
  return folder;
}

}  // namespace cskd::shards

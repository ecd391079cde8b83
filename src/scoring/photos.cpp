#include "scoring/photos.h"

#include <filesystem>
#include <string_view>
#include <system_error>

#include <fmt/format.h>

#include "runtime/error.h"
#include "runtime/input_file.h"
#include "scoring/foreign_formats.h"
#include "shards/importers/folder_walk.h"
#include "shards/importers/importer.h"
#include "shards/importers/tar_index.h"

namespace cskd::scoring {
namespace {

bool is_photo_name(std::string_view name) {
  const std::filesystem::path path(name);
  return shards::has_picture_extension(path) || has_foreign_extension(path);
}

void add_archive(const std::string& path, std::vector<Photo>& photos) {
  const runtime::InputFile archive(path);
  for (const shards::TarMember& member : shards::index_tar(archive)) {
    if (!is_photo_name(member.name)) continue;
    photos.push_back({.name = path + "/" + member.name,
                      .file = path,
                      .offset = member.offset,
                      .size = member.size,
                      .is_whole_file = false,
                      .fault = {}});
  }
}

void add_folder(const std::string& path, std::vector<Photo>& photos) {
  const auto is_wanted = [](std::string_view name) { return is_photo_name(name); };
  shards::walk_folder(path, is_wanted, [&](shards::FoundFile&& found) {
    const bool has_slash = path.ends_with('/');
    photos.push_back({.name = path + (has_slash ? "" : "/") + found.name, .file = found.path, .size = 0, .fault = {}});
  });
}

void add_path(const std::string& path, std::vector<Photo>& photos) {
  std::error_code error;
  const std::filesystem::file_status status = std::filesystem::status(path, error);
  if (std::filesystem::is_directory(status)) return add_folder(path, photos);
  if (shards::kind_of_file(path) == ".tar" && std::filesystem::is_regular_file(status))
    return add_archive(path, photos);
  Photo photo{.name = path, .file = path, .size = 0, .fault = {}};
  if (!std::filesystem::exists(status)) {
    photo.fault = error ? error.message() : "no such file";
  } else if (!std::filesystem::is_regular_file(status)) {
    photo.fault = "not a file";
  }
  photos.push_back(std::move(photo));
}

}  // namespace

std::vector<Photo> find_photos(const std::vector<std::string>& paths, std::istream& list) {
  std::vector<Photo> photos;
  for (const std::string& path : paths) {
    if (path != "-") {
      add_path(path, photos);
      continue;
    }
    for (std::string line; std::getline(list, line);) {
      if (line.ends_with('\r')) line.pop_back();
      if (!line.empty()) add_path(line, photos);
    }
  }
  return photos;
}

}  // namespace cskd::scoring

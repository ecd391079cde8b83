#include <algorithm>
#include <filesystem>

#include <fmt/format.h>

#include "runtime/error.h"
#include "shards/importers/folder_walk.h"
#include "shards/importers/kinds.h"
#include "shards/importers/layout.h"
#include "shards/importers/relative_name.h"
#include "shards/importers/tar_index.h"

namespace cskd::shards {
namespace {

// Members with a picture's extension, with the key "<archive>/<member>"; all others are passed over. Nothing is
// extracted.
class WebdatasetImporter final : public Importer {
 public:
  explicit WebdatasetImporter(const config::Source& source) : path_(source_path(source)) {}

  std::vector<std::string> parts() const override {
    switch (file_status(path_).kind) {
      case FileStatus::Kind::kFile:
        return {std::filesystem::path(path_).filename().native()};
      case FileStatus::Kind::kFolder:
        break;
      default:
        throw runtime::DataError(fmt::format("{} is neither a folder nor a tar file, or is not there", path_));
    }
    std::vector<std::string> archives;
    const auto is_archive = [&](std::string_view name) {
      const std::string extension = kind_of_file(name);
      const bool is_packed = extension == ".tgz" || kind_of_file(std::filesystem::path(name).stem()) == ".tar";
      if (extension != ".tar" && is_packed) {
        throw runtime::DataError(fmt::format(
            "{}: {} is compressed, but archives are read in place: unpack it (gunzip, zstd -d, ...), or put it "
            "somewhere else",
            path_, name));
      }
      return extension == ".tar";
    };
    walk_folder(path_, is_archive, [&](FoundFile&& found) {
      if (found.status.kind != FileStatus::Kind::kFile) {
        throw runtime::DataError(fmt::format("{} is a link to nothing, or not a regular file", found.path));
      }
      archives.push_back(std::move(found.name));
    });
    if (archives.empty()) throw runtime::DataError(fmt::format("{} holds no .tar file: is the path right?", path_));
    std::sort(archives.begin(), archives.end());
    return archives;
  }

  void list(const std::string& part, const TakeEntry& take) const override {
    const bool is_folder = file_status(path_).kind == FileStatus::Kind::kFolder;
    const std::string archive = is_folder ? (std::filesystem::path(path_) / part).native() : path_;
    const std::int64_t changed = file_status(archive).changed;
    const auto pass_over = [&](const std::string& name, const char* what) {
      take({.key = fmt::format("{}/{}", part, name), .passed_over = what});
    };
    for (const TarMember& member : index_tar(runtime::InputFile(archive), pass_over)) {
      if (is_hidden(member.name)) continue;
      if (!has_picture_extension(member.name)) {
        pass_over(member.name, kind_of_file(member.name).c_str());
        continue;
      }
      take({.key = fmt::format("{}/{}", part, member.name),
            .file = archive,
            .offset = member.offset,
            .size = member.size,
            .changed = changed});
    }
  }

 private:
  std::string path_;
};

}  // namespace

std::unique_ptr<Importer> make_webdataset_importer(const config::Source& source) {
  return std::make_unique<WebdatasetImporter>(source);
}

}  // namespace cskd::shards

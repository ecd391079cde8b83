#include <utility>

#include "shards/importers/folder_walk.h"
#include "shards/importers/importer.h"
#include "shards/importers/layout.h"

namespace cskd::shards {
namespace {

class FolderImporter final : public Importer {
 public:
  explicit FolderImporter(const config::Source& source) : folder_(source_path(source)) {}

  void list(const std::string& /*part*/, const TakeEntry& take) const override {
    const auto may_be_picture = [&](std::string_view name) {
      if (has_picture_extension(name)) return true;
      const std::string kind = kind_of_file(name);
      if (kind != kNoExtension) take({.key = std::string(name), .passed_over = kind});
      return kind == kNoExtension;
    };
    walk_folder(folder_, may_be_picture, [&](FoundFile&& found) {
      if (!is_picture(found)) {
        take({.key = std::move(found.name), .passed_over = kNoExtension});
        return;
      }
      Entry entry{.key = std::move(found.name), .file = std::move(found.path)};
      if (found.status.kind == FileStatus::Kind::kFile) {
        entry.size = found.status.size;
        entry.changed = found.status.changed;
      } else {
        entry.fault = found.status.kind == FileStatus::Kind::kMissing ? "a link to nothing" : "not a regular file";
      }
      take(std::move(entry));
    });
  }

 private:
  static bool is_picture(const FoundFile& found) {
    if (has_picture_extension(found.name)) return true;
    return found.status.kind == FileStatus::Kind::kFile &&
           begins_as_picture(runtime::InputFile(found.path), 0, found.status.size);
  }

  std::string folder_;
};

}  // namespace

std::unique_ptr<Importer> make_folder_importer(const config::Source& source) {
  return std::make_unique<FolderImporter>(source);
}

}  // namespace cskd::shards

#include <utility>

#include "shards/importers/folder_walk.h"
#include "shards/importers/kinds.h"
#include "shards/importers/layout.h"

namespace cskd::shards {
namespace {

class FolderImporter final : public Importer {
 public:
  explicit FolderImporter(const config::Source& source) : folder_(source_path(source)) {}

  void list(const std::string& /*part*/, const TakeEntry& take) const override {
    const auto is_picture = [&](std::string_view name) {
      if (has_picture_extension(name)) return true;
      take({.key = std::string(name), .passed_over = kind_of_file(name)});
      return false;
    };
    walk_folder(folder_, is_picture, [&](FoundFile&& found) {
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
  std::string folder_;
};

}  // namespace

std::unique_ptr<Importer> make_folder_importer(const config::Source& source) {
  return std::make_unique<FolderImporter>(source);
}

}  // namespace cskd::shards

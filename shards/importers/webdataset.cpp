#include <algorithm>
#include <array>
#include <cctype>
#include <filesystem>
#include <optional>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "runtime/content_hash.h"
#include "runtime/error.h"
#include "runtime/input_file.h"
#include "shards/importers/folder_walk.h"
#include "shards/importers/importer.h"
#include "shards/importers/layout.h"
#include "shards/importers/rating_scale.h"
#include "shards/importers/relative_name.h"
#include "shards/importers/sidecar_ratings.h"
#include "shards/importers/tar_index.h"
#include "shards/importers/unpack.h"

namespace cskd::shards {
namespace {

bool has_archive_name(const std::string& name) {
  constexpr std::array<std::string_view, 8> kEndings{".tar",     ".tar.gz", ".tar.bz2", ".tar.xz",
                                                     ".tar.zst", ".tgz",    ".tbz2",    ".txz"};
  std::string lower = name;
  std::ranges::transform(lower, lower.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return std::ranges::any_of(kEndings, [&](std::string_view ending) { return lower.ends_with(ending); });
}

// Members with a picture's extension, with the key "<archive>/<member>"; all others are passed over. Nothing but
// compressed archives is unpacked.
class WebdatasetImporter final : public Importer {
 public:
  WebdatasetImporter(const config::Source& source, std::filesystem::path scratch)
      : path_(source_path(source)),
        scratch_(std::move(scratch)),
        fields_(source.columns()),
        scale_(rating_scale(source)) {}

  std::vector<std::string> parts(const TakeEntry& take) const override {
    switch (file_status(path_).kind) {
      case FileStatus::Kind::kFile:
        return {std::filesystem::path(path_).filename().native()};
      case FileStatus::Kind::kFolder:
        break;
      default:
        throw runtime::DataError(fmt::format("{} does not exist, or is neither a folder nor a tar file", path_));
    }
    std::vector<std::string> archives;
    const auto any = [](std::string_view) { return true; };
    walk_folder(path_, any, [&](FoundFile&& found) {
      if (!has_archive_name(found.name)) {
        const std::string what = kind_of_file(found.name) + " beside the archives";
        take({.key = std::move(found.name), .passed_over = what});
        return;
      }
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
    const runtime::InputFile file(is_compressed(archive) ? unpacked(archive) : archive);
    const auto pass_over = [&](const std::string& name, const std::string& what) {
      take({.key = fmt::format("{}/{}", part, name), .passed_over = what});
    };
    // Messages name the archive, also where it was unpacked elsewhere.
    try {
      const std::vector<TarMember> members = index_tar(file, pass_over);
      std::optional<SidecarRatings> ratings;
      if (fields_.are_given()) ratings.emplace(fields_, scale_, file, members);
      for (const TarMember& member : members) {
        if (is_hidden(member.name)) continue;
        if (!is_picture(file, member)) {
          const std::string kind = kind_of_file(member.name);
          if (!ratings || !fields_.read(kind)) pass_over(member.name, kind);
          continue;
        }
        Entry entry{.key = fmt::format("{}/{}", part, member.name),
                    .file = file.path().native(),
                    .offset = member.offset,
                    .size = member.size,
                    .changed = changed};
        if (ratings) {
          SidecarRatings::Rating rating = ratings->of(member.name);
          entry.label = std::move(rating.label);
          entry.split = rating.split;
        }
        take(std::move(entry));
      }
      if (ratings) ratings->refuse_unknown_fields();
    } catch (const runtime::DataError&) {
      if (file.path() == archive) throw;
      runtime::rethrow_with_context(fmt::format("{}, unpacked", archive));
    }
  }

 private:
  static bool is_picture(const runtime::InputFile& file, const TarMember& member) {
    if (has_picture_extension(member.name)) return true;
    return kind_of_file(member.name) == kNoExtension && begins_as_picture(file, member.offset, member.size);
  }

  // Where a compressed archive lies unpacked: always in the same place, because that is a part of what decides whether
  // a picture was checked already.
  std::string unpacked(const std::string& archive) const {
    std::filesystem::create_directories(scratch_);
    const std::filesystem::path target = scratch_ / (runtime::content_hash(archive).hex() + ".tar");
    unpack(archive, target);
    return target.native();
  }

  std::string path_;
  std::filesystem::path scratch_;
  SidecarFields fields_;
  RatingScale scale_;
};

}  // namespace

std::unique_ptr<Importer> make_webdataset_importer(const config::Source& source, const std::filesystem::path& scratch) {
  return std::make_unique<WebdatasetImporter>(source, scratch);
}

}  // namespace cskd::shards

#include <cmath>
#include <filesystem>
#include <optional>
#include <unordered_map>
#include <utility>

#include <fmt/format.h>

#include "shards/importers/fields.h"
#include "shards/importers/folder_walk.h"
#include "shards/importers/importer.h"
#include "shards/importers/layout.h"
#include "shards/importers/listed_pictures.h"
#include "shards/importers/rating_scale.h"
#include "shards/importers/table_reader.h"

namespace cskd::shards {
namespace {

constexpr int kHighestScore = 10;

struct RatedImage {
  std::string id;
  std::vector<double> counts = std::vector<double>(kHighestScore + 1);  // of the scores 0 to 10
  std::optional<FoundFile> file;
};

// One vote a line, many votes a picture; scores are whole numbers. Pictures lie in one folder or in one for each
// category, depending on the archive they come from. There is no official split.
class EvaImporter final : public Importer {
 public:
  explicit EvaImporter(const config::Source& source) : source_(source), scale_(rating_scale(source)) {}

  void list(const std::string& /*part*/, const TakeEntry& take) const override {
    std::vector<RatedImage> images;
    read_votes(images);
    const std::string folder =
        layout_images(source_, {"images/EVA_together", "images/EVA_category/EVA_category", "images/EVA_category",
                                "images", "EVA_together", "EVA_category/EVA_category", "EVA_category"});
    find_files(folder, images);
    for (RatedImage& image : images) {
      Entry entry{.key = image.id + ".jpg",
                  .file = folder + "/" + image.id + ".jpg",
                  .split = Split::kTrain,
                  .label = label_from_counts(image.counts, scale_.bins)};
      if (image.file && image.file->status.kind == FileStatus::Kind::kFile) {
        entry.file = std::move(image.file->path);
        entry.size = image.file->status.size;
        entry.changed = image.file->status.changed;
      } else {
        entry.fault = image.file ? "rated, but it is not a regular file" : "rated, but the picture is missing";
      }
      take(std::move(entry));
    }
  }

 private:
  // In the order of their first votes.
  void read_votes(std::vector<RatedImage>& images) const {
    TableReader reader(layout_file(source_, {"data/votes_filtered.csv", "votes_filtered.csv"}), '=');
    const size_t id_column = reader.column("image_id");
    const size_t score_column = reader.column("score");
    std::unordered_map<std::string, size_t> positions;
    ListedPictures pictures;
    while (reader.next()) {
      const double score = at_place_of(reader, [&] { return number_of(reader.field(score_column)); });
      if (score < 0 || score > kHighestScore || score != std::floor(score)) {
        reader.fail(fmt::format("a vote of {}, expected a whole number from 0 to {}", score, kHighestScore));
      }
      const std::string& id = reader.field(id_column);
      const auto [found, is_new] = positions.try_emplace(id, images.size());
      if (is_new) {
        at_place_of(reader, [&] { pictures.check_key(id); });
        images.push_back({.id = id, .file = std::nullopt});
      }
      ++images[found->second].counts[static_cast<size_t>(score)];
    }
  }

  static void find_files(const std::string& folder, std::vector<RatedImage>& images) {
    std::unordered_map<std::string, RatedImage*> by_id;
    for (RatedImage& image : images) by_id.emplace(image.id, &image);
    const auto is_picture = [](std::string_view name) { return has_picture_extension(name); };
    walk_folder(folder, is_picture, [&](FoundFile&& found) {
      const auto image = by_id.find(std::filesystem::path(found.name).stem().native());
      if (image == by_id.end()) return;
      std::optional<FoundFile>& file = image->second->file;
      if (file) {
        throw runtime::DataError(
            fmt::format("{} and {} are both the picture {}; the key images can name a folder with one "
                        "of them",
                        file->path, found.path, image->first));
      }
      file = std::move(found);
    });
  }

  config::Source source_;
  RatingScale scale_;
};

}  // namespace

std::unique_ptr<Importer> make_eva_importer(const config::Source& source) {
  return std::make_unique<EvaImporter>(source);
}

}  // namespace cskd::shards

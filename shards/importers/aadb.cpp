#include <filesystem>
#include <utility>

#include "shards/importers/file_status.h"
#include "shards/importers/importer.h"
#include "shards/importers/layout.h"
#include "shards/importers/rating_scale.h"
#include "shards/importers/score_list.h"

namespace cskd::shards {
namespace {

constexpr const char* kOriginals = "datasetImages_originalSize";
constexpr const char* kTestOriginals = "AADB_newtest_originalSize";

// Three lists of scores, one for each split.
class AadbImporter final : public Importer {
 public:
  explicit AadbImporter(const config::Source& source) : source_(source), scale_(rating_scale(source)) {}

  void list(const std::string& /*part*/, const TakeEntry& take) const override {
    const std::string images = layout_images(source_, {kOriginals, "datasetImages_warp256", "images"});
    const std::pair<const char*, Split> lists[] = {{"imgListTrainRegression_score.txt", Split::kTrain},
                                                   {"imgListValidationRegression_score.txt", Split::kValidation},
                                                   {"imgListTestNewRegression_score.txt", Split::kTest}};
    ListedPictures pictures;
    for (const auto& [name, split] : lists) {
      const std::string file = layout_file(source_, {name, std::string("imgListFiles_label/") + name});
      list_scores(file, split == Split::kTest ? test_images(images) : images, split, scale_, pictures, take);
    }
  }

 private:
  // The test pictures in their original size come as an archive of their own.
  std::string test_images(const std::string& images) const {
    const std::filesystem::path beside = std::filesystem::path(source_path(source_)) / kTestOriginals;
    const bool is_original = source_.images().empty() && std::filesystem::path(images).filename() == kOriginals;
    return is_original && file_status(beside).kind == FileStatus::Kind::kFolder ? beside.native() : images;
  }

  config::Source source_;
  RatingScale scale_;
};

}  // namespace

std::unique_ptr<Importer> make_aadb_importer(const config::Source& source) {
  return std::make_unique<AadbImporter>(source);
}

}  // namespace cskd::shards

#include <string>

#include "shards/importers/importer.h"
#include "shards/importers/layout.h"
#include "shards/importers/rated_table.h"

namespace cskd::shards {
namespace {

// The tables over all themes, one for each split. Those of single themes (unmerge/) repeat them.
class Tad66kImporter final : public Importer {
 public:
  explicit Tad66kImporter(const config::Source& source) : source_(source), scale_(rating_scale(source)) {}

  void list(const std::string& /*part*/, const TakeEntry& take) const override {
    const std::string images = layout_images(source_, {"TAD66K", "images"});
    ListedPictures pictures;
    for (const Split split : {Split::kTrain, Split::kTest}) {
      const std::string name = std::string("merge/") + (split == Split::kTrain ? "train.csv" : "test.csv");
      list_table({.file = layout_file(source_, {name, "dataset/" + name, "labels/" + name}),
                  .delimiter = ',',
                  .images = images,
                  .key = {"image"},
                  .mean = "score",
                  .whole = split},
                 scale_, pictures, take);
    }
  }

 private:
  config::Source source_;
  RatingScale scale_;
};

}  // namespace

std::unique_ptr<Importer> make_tad66k_importer(const config::Source& source) {
  return std::make_unique<Tad66kImporter>(source);
}

}  // namespace cskd::shards

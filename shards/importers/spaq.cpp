#include "shards/importers/importer.h"
#include "shards/importers/layout.h"
#include "shards/importers/rated_table.h"

namespace cskd::shards {
namespace {

// Published as a spreadsheet, which people export under its own name or with underscores. There is no official split.
class SpaqImporter final : public Importer {
 public:
  explicit SpaqImporter(const config::Source& source) : source_(source), scale_(rating_scale(source)) {}

  void list(const std::string& /*part*/, const TakeEntry& take) const override {
    ListedPictures pictures;
    list_table(
        {.file = layout_file(source_, {"Annotations/MOS and Image attribute scores.csv",
                                       "Annotations/MOS_and_Image_attribute_scores.csv",
                                       "MOS and Image attribute scores.csv", "MOS_and_Image_attribute_scores.csv"}),
         .images = layout_images(source_, {"TestImage"}),
         .key = {"Image name"},
         .mean = "MOS"},
        scale_, pictures, take);
  }

 private:
  config::Source source_;
  RatingScale scale_;
};

}  // namespace

std::unique_ptr<Importer> make_spaq_importer(const config::Source& source) {
  return std::make_unique<SpaqImporter>(source);
}

}  // namespace cskd::shards

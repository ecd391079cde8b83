#include "shards/importers/importer.h"
#include "shards/importers/layout.h"
#include "shards/importers/rating_scale.h"
#include "shards/importers/score_list.h"

namespace cskd::shards {
namespace {

// The scores of all raters together. The official split is one of raters, for personal taste, and none of pictures.
class FlickrAesImporter final : public Importer {
 public:
  explicit FlickrAesImporter(const config::Source& source) : source_(source), scale_(rating_scale(source)) {}

  void list(const std::string& /*part*/, const TakeEntry& take) const override {
    const std::string images = layout_images(source_, {"40K", "FLICKR-AES-001/40K", "images"});
    ListedPictures pictures;
    list_scores(layout_file(source_, {"FLICKR-AES_image_score.txt", "FLICKR-AES-001/FLICKR-AES_image_score.txt"}),
                images, Split::kTrain, scale_, pictures, take);
  }

 private:
  config::Source source_;
  RatingScale scale_;
};

}  // namespace

std::unique_ptr<Importer> make_flickr_aes_importer(const config::Source& source) {
  return std::make_unique<FlickrAesImporter>(source);
}

}  // namespace cskd::shards

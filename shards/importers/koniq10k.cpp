#include "shards/importers/importer.h"
#include "shards/importers/layout.h"
#include "shards/importers/rated_table.h"

namespace cskd::shards {
namespace {

// c1 to c5 are the shares of the ratings 1 to 5. The column MOS is on a scale of its own and not used: the mean follows
// from the shares.
class Koniq10kImporter final : public Importer {
 public:
  explicit Koniq10kImporter(const config::Source& source) : source_(source), scale_(rating_scale(source)) {}

  void list(const std::string& /*part*/, const TakeEntry& take) const override {
    constexpr const char* kTable = "koniq10k_distributions_sets.csv";
    ListedPictures pictures;
    list_table({.file = layout_file(source_, {kTable, std::string("metadata/") + kTable}),
                .delimiter = ',',
                .images = layout_images(source_, {"1024x768", "512x384", "images"}),
                .key = {"image_name"},
                .counts = {"c1", "c2", "c3", "c4", "c5"},
                .split = "set"},
               scale_, pictures, take);
  }

 private:
  config::Source source_;
  RatingScale scale_;
};

}  // namespace

std::unique_ptr<Importer> make_koniq10k_importer(const config::Source& source) {
  return std::make_unique<Koniq10kImporter>(source);
}

}  // namespace cskd::shards

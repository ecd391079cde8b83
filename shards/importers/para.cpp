#include <fmt/format.h>

#include "shards/importers/importer.h"
#include "shards/importers/layout.h"
#include "shards/importers/rated_table.h"

namespace cskd::shards {
namespace {

// The aesthetics scores of all raters together ("GIAA"), one table for each split.
class ParaImporter final : public Importer {
 public:
  explicit ParaImporter(const config::Source& source) : source_(source), scale_(rating_scale(source)) {}

  void list(const std::string& /*part*/, const TakeEntry& take) const override {
    std::vector<std::string> counts;
    for (int half = 2; half <= 10; ++half) counts.push_back(fmt::format("aestheticScore_{:.1f}", half / 2.0));
    const std::string images = layout_images(source_, {"imgs"});
    ListedPictures pictures;
    for (const Split split : {Split::kTrain, Split::kTest}) {
      const char* file = split == Split::kTrain ? "annotation/PARA-GiaaTrain.csv" : "annotation/PARA-GiaaTest.csv";
      list_table({.file = layout_file(source_, {file}),
                  .delimiter = ',',
                  .images = images,
                  .key = {"sessionId", "imageName"},
                  .counts = counts,
                  .whole = split},
                 scale_, pictures, take);
    }
  }

 private:
  config::Source source_;
  RatingScale scale_;
};

}  // namespace

std::unique_ptr<Importer> make_para_importer(const config::Source& source) {
  return std::make_unique<ParaImporter>(source);
}

}  // namespace cskd::shards

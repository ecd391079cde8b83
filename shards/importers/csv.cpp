#include <filesystem>

#include <fmt/format.h>

#include "runtime/error.h"
#include "shards/importers/csv_columns.h"
#include "shards/importers/file_status.h"
#include "shards/importers/importer.h"
#include "shards/importers/layout.h"
#include "shards/importers/rated_table.h"

namespace cskd::shards {
namespace {

class CsvImporter final : public Importer {
 public:
  explicit CsvImporter(const config::Source& source) : source_(source), scale_(rating_scale(source)) {}

  void list(const std::string& /*part*/, const TakeEntry& take) const override {
    const std::string file = source_path(source_);
    if (file_status(file).kind != FileStatus::Kind::kFile) {
      throw runtime::DataError(fmt::format("{} does not exist or is not a file", file));
    }
    const config::CsvColumns& columns = source_.columns();
    ListedPictures pictures(source_.absolute_paths());
    list_table({.file = file,
                .delimiter = delimiter_of(source_),
                .images = source_.images().empty() ? std::filesystem::path(file).parent_path().native()
                                                   : layout_images(source_, {}),
                .key = {path_column_of(source_)},
                .mean = columns.mean(),
                .stddev = columns.stddev(),
                .counts = {columns.counts().begin(), columns.counts().end()},
                .split = columns.split(),
                .may_lack_ratings = true},
               scale_, pictures, take);
  }

 private:
  config::Source source_;
  RatingScale scale_;
};

}  // namespace

std::unique_ptr<Importer> make_csv_importer(const config::Source& source) {
  return std::make_unique<CsvImporter>(source);
}

}  // namespace cskd::shards

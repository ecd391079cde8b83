#include "shards/importers/kinds.h"

#include <algorithm>

#include "runtime/check.h"

namespace cskd::shards {

// Each in the file of its name.
std::unique_ptr<Importer> make_folder_importer(const config::Source& source);
std::unique_ptr<Importer> make_webdataset_importer(const config::Source& source, const std::filesystem::path& scratch);
std::unique_ptr<Importer> make_ava_importer(const config::Source& source);
std::unique_ptr<Importer> make_csv_importer(const config::Source& source);
std::unique_ptr<Importer> make_aadb_importer(const config::Source& source);
std::unique_ptr<Importer> make_tad66k_importer(const config::Source& source);
std::unique_ptr<Importer> make_para_importer(const config::Source& source);
std::unique_ptr<Importer> make_koniq10k_importer(const config::Source& source);
std::unique_ptr<Importer> make_spaq_importer(const config::Source& source);
std::unique_ptr<Importer> make_flickr_aes_importer(const config::Source& source);
std::unique_ptr<Importer> make_eva_importer(const config::Source& source);

namespace {

using config::Source;

// An importer that needs no room for what it unpacks.
template <std::unique_ptr<Importer> (*make)(const Source&)>
std::unique_ptr<Importer> plain(const Source& source, const std::filesystem::path&) {
  return make(source);
}

std::vector<float> evenly(double first, double last, int count) {
  std::vector<float> bins(static_cast<std::size_t>(count));
  for (int i = 0; i < count; ++i)
    bins[static_cast<std::size_t>(i)] = static_cast<float>(first + (last - first) * i / (count - 1));
  return bins;
}

const std::vector<SourceKind>& table() {
  static const std::vector<SourceKind> kinds{
      {.kind = Source::folder, .make = plain<make_folder_importer>, .bins = {}},
      {.kind = Source::webdataset, .make = make_webdataset_importer, .columns_decide = true, .bins = {}},
      {.kind = Source::csv, .make = plain<make_csv_importer>, .columns_decide = true, .bins = {}},
      {.kind = Source::ava, .make = plain<make_ava_importer>, .ratings = Ratings::kCounts, .bins = evenly(1, 10, 10)},
      // Means of five-point ratings, scaled to [0, 1].
      {.kind = Source::aadb, .make = plain<make_aadb_importer>, .ratings = Ratings::kMean, .bins = evenly(0, 1, 5)},
      {.kind = Source::flickr_aes,
       .make = plain<make_flickr_aes_importer>,
       .ratings = Ratings::kMean,
       .bins = evenly(0, 1, 5)},
      {.kind = Source::tad66k,
       .make = plain<make_tad66k_importer>,
       .ratings = Ratings::kMean,
       .bins = evenly(0, 10, 11)},
      {.kind = Source::eva, .make = plain<make_eva_importer>, .ratings = Ratings::kCounts, .bins = evenly(0, 10, 11)},
      {.kind = Source::para, .make = plain<make_para_importer>, .ratings = Ratings::kCounts, .bins = evenly(1, 5, 9)},
      {.kind = Source::koniq10k,
       .make = plain<make_koniq10k_importer>,
       .ratings = Ratings::kCounts,
       .bins = evenly(1, 5, 5)},
      {.kind = Source::spaq, .make = plain<make_spaq_importer>, .ratings = Ratings::kMean, .bins = evenly(0, 100, 11)},
  };
  return kinds;
}

}  // namespace

const SourceKind& source_kind(config::Source::Kind kind) {
  const auto found = std::ranges::find(table(), kind, &SourceKind::kind);
  CSKD_CHECK(found != table().end(), "source kind {}", static_cast<int>(kind));
  return *found;
}

}  // namespace cskd::shards

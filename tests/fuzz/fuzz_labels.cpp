// Label files of every kind: each is refused, or its labels are distributions. The first byte chooses the kind.
#include <cmath>
#include <numeric>
#include <string>
#include <vector>

#include "runtime/check.h"
#include "runtime/error.h"
#include "shards/importers/importer.h"
#include "tests/fuzz/scratch_file.h"
#include "tests/support/tar_member.h"

namespace {

using namespace cskd;
namespace fs = std::filesystem;
using config::Source;

struct Layout {
  Source::Kind kind;
  std::vector<fs::path> lists;    // the fuzzed text goes to all of them
  std::vector<fs::path> folders;  // of pictures
};

const std::vector<Layout>& layouts() {
  static const std::vector<Layout> all{
      {Source::ava, {"AVA.txt", "aesthetics_image_lists/generic_test.jpgl"}, {"images"}},
      {Source::aadb,
       {"imgListTrainRegression_score.txt", "imgListValidationRegression_score.txt",
        "imgListTestNewRegression_score.txt"},
       {"images"}},
      {Source::tad66k, {"merge/train.csv", "merge/test.csv"}, {"images"}},
      {Source::para, {"annotation/PARA-GiaaTrain.csv", "annotation/PARA-GiaaTest.csv"}, {"imgs"}},
      {Source::koniq10k, {"koniq10k_distributions_sets.csv"}, {"images"}},
      {Source::spaq, {"Annotations/MOS and Image attribute scores.csv"}, {"TestImage"}},
      {Source::flickr_aes, {"FLICKR-AES_image_score.txt"}, {"images"}},
      {Source::eva, {"votes_filtered.csv"}, {"images"}},
      {Source::csv, {"table.csv"}, {}},
      {Source::webdataset, {"1.tar"}, {}},  // a picture, and the text as its JSON
  };
  return all;
}

std::string archive_of(const std::string& json) {
  return tests::tar_member("1.jpg", "") + tests::tar_member("1.json", json) + std::string(1024, '\0');
}

Source make_source(const Layout& layout, const fs::path& folder) {
  Source source;
  source.set_name("fuzzed");
  source.set_kind(layout.kind);
  source.set_path(layout.kind == Source::csv ? (folder / "table.csv").native() : folder.native());
  source.set_weight(1);
  source.mutable_columns()->set_path("path");
  if (layout.kind == Source::csv || layout.kind == Source::webdataset) {
    source.mutable_columns()->set_mean("score");
    for (const double bin : {0.0, 1.0, 2.0, 3.0}) source.add_bins(bin);
  }
  return source;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::size_t which = data[0] % layouts().size();
  const Layout& layout = layouts()[which];
  const fs::path folder = fuzz::scratch_folder() / std::to_string(which);
  for (const fs::path& list : layout.lists) {
    fs::create_directories((folder / list).parent_path());
    const std::string text(fuzz::text_of(data + 1, size - 1));
    fuzz::write(folder / list, layout.kind == Source::webdataset ? archive_of(text) : text);
  }
  for (const fs::path& pictures : layout.folders) fs::create_directories(folder / pictures);
  fuzz::write(folder / (layout.folders.empty() ? "." : layout.folders[0]) / "1.jpg", "");
  try {
    const Source source = make_source(layout, folder);
    const std::size_t bins = shards::bin_centres(source).size();
    const char* part = layout.kind == Source::webdataset ? "1.tar" : "";
    shards::make_importer(source, folder / "scratch")->list(part, [&](shards::Entry&& entry) {
      CSKD_CHECK(!entry.key.empty(), "a picture without a key");
      if (!entry.label) return;
      const std::vector<float>& histogram = entry.label->histogram;
      const float sum = std::accumulate(histogram.begin(), histogram.end(), 0.0F);
      CSKD_CHECK(histogram.size() == bins && std::abs(sum - 1) < 1e-3F, "{} bins of {}, sum {}", histogram.size(), bins,
                 sum);
      CSKD_CHECK(std::isfinite(entry.label->mean) && entry.label->stddev >= 0, "mean {}, stddev {}", entry.label->mean,
                 entry.label->stddev);
    });
  } catch (const runtime::Error&) {
    return 0;
  }
  return 0;
}

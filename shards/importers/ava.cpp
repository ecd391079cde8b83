#include <algorithm>
#include <set>

#include <fmt/format.h>

#include "shards/importers/fields.h"
#include "shards/importers/importer.h"
#include "shards/importers/layout.h"
#include "shards/importers/line_reader.h"
#include "shards/importers/listed_pictures.h"
#include "shards/importers/rating_scale.h"

namespace cskd::shards {
namespace {

constexpr size_t kColumns = 15;  // index, id, ten counts, two tags, challenge
constexpr size_t kFirstCount = 2;

std::int64_t image_id(std::string_view word) {
  const std::int64_t id = whole_number_of(word);
  if (id < 0) throw runtime::DataError(fmt::format("{} is no image id", id));
  return id;
}

// AVA.txt holds the ratings, aesthetics_image_lists/generic_test.jpgl the ids of the test split; every other rated
// picture is of the training split.
class AvaImporter final : public Importer {
 public:
  explicit AvaImporter(const config::Source& source) : source_(source), scale_(rating_scale(source)) {}

  void list(const std::string& /*part*/, const TakeEntry& take) const override {
    const std::string ratings = layout_file(source_, {"AVA.txt"});
    const std::set<std::int64_t> test_ids =
        read_ids(layout_file(source_, {"aesthetics_image_lists/generic_test.jpgl"}));
    const std::string images = layout_images(source_, {"images", "image"});
    ListedPictures pictures;
    LineReader reader(ratings);
    while (reader.next()) {
      const std::vector<std::string_view> words = words_of(reader.line());
      if (words.empty()) continue;
      if (words.size() != kColumns) reader.fail(fmt::format("{} numbers, expected {}", words.size(), kColumns));
      take(at_place_of(reader, [&] {
        std::vector<std::int64_t> numbers(words.size());
        std::transform(words.begin(), words.end(), numbers.begin(), whole_number_of);
        const std::int64_t id = image_id(words[1]);
        const std::vector<double> counts(
            numbers.begin() + kFirstCount,
            numbers.begin() + kFirstCount + static_cast<std::ptrdiff_t>(scale_.bins.size()));
        return pictures.entry(images, fmt::format("{}.jpg", id), label_from_counts(counts, scale_.bins),
                              test_ids.contains(id) ? Split::kTest : Split::kTrain);
      }));
    }
  }

 private:
  static std::set<std::int64_t> read_ids(const std::string& file) {
    std::set<std::int64_t> ids;
    LineReader reader(file);
    while (reader.next()) {
      const std::vector<std::string_view> words = words_of(reader.line());
      if (words.empty()) continue;
      if (words.size() != 1) reader.fail(fmt::format("{} numbers, expected one image id", words.size()));
      const std::int64_t id = at_place_of(reader, [&] { return image_id(words[0]); });
      if (!ids.insert(id).second) reader.fail(fmt::format("{} is named twice", id));
    }
    return ids;
  }

  config::Source source_;
  RatingScale scale_;
};

}  // namespace

std::unique_ptr<Importer> make_ava_importer(const config::Source& source) {
  return std::make_unique<AvaImporter>(source);
}

}  // namespace cskd::shards

#include "run_report/shown_pictures.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <memory>
#include <numeric>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "data/corpus.h"
#include "data/image_header.h"
#include "data/sample_source.h"
#include "data/thumbnail.h"
#include "runtime/error.h"

namespace cskd::run_report {
namespace {

constexpr int kThumbnailSide = 176;
constexpr int kThumbnailQuality = 80;

// The test split of a run. Predictions are listed in its order.
class TestPictures {
 public:
  explicit TestPictures(const std::filesystem::path& shards)
      : corpus_(shards), samples_(data::SampleSet::of_split(corpus_, shards::Split::kTest)) {}

  // Throws DataError where picture `number` is another one, or cannot be read.
  std::string thumbnail(std::size_t number, const std::string& key) const {
    if (number >= samples_.size()) throw runtime::DataError(fmt::format("{} is no longer a test picture", key));
    const data::SampleRef sample = samples_.at(number);
    const auto shard = corpus_.shard(sample.shard);
    const auto source = static_cast<int>(corpus_.manifest().shards(static_cast<int>(sample.shard)).source());
    if (fmt::format("{}/{}", corpus_.manifest().sources(source).name(), shard->key(sample.row)) != key)
      throw runtime::DataError(fmt::format("{} is no longer where it was when models were evaluated", key));
    const std::vector<std::byte> bytes = data::read_picture(*shard, sample.row);
    return data::thumbnail(data::shrunk(bytes, data::read_image_header(bytes), kThumbnailSide), kThumbnailQuality);
  }

 private:
  data::Corpus corpus_;
  data::SampleSet samples_;
};

}  // namespace

ShownPictures shown_pictures(RunRecord& run, std::size_t count) {
  if (run.predictions.empty()) return {};
  const evaluation::PredictedMeans& model = run.predictions.front();
  std::unique_ptr<TestPictures> pictures;
  try {
    pictures = std::make_unique<TestPictures>(run.folder.shards());
  } catch (const runtime::Error& error) {
    run.troubles.push_back(fmt::format("test pictures are not shown: {}", fmt::join(runtime::messages(error), ": ")));
  }
  std::vector<std::size_t> order(model.pictures.size());
  // The first ones by `worth`, the largest first.
  const auto chosen = [&](const std::function<double(std::size_t)>& worth) {
    std::iota(order.begin(), order.end(), std::size_t{0});
    const std::size_t wanted = std::min(count, order.size());
    std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(wanted), order.end(),
                      [&](std::size_t a, std::size_t b) { return std::pair(-worth(a), a) < std::pair(-worth(b), b); });
    std::vector<ShownPicture> shown;
    for (std::size_t i = 0; i < wanted; ++i) {
      const std::size_t number = order[i];
      ShownPicture& picture = shown.emplace_back(ShownPicture{.key = model.pictures[number],
                                                              .jpeg = {},
                                                              .rated = model.rated[number],
                                                              .predicted = model.predicted[number]});
      try {
        if (pictures) picture.jpeg = pictures->thumbnail(number, picture.key);
      } catch (const runtime::Error& error) {
        run.troubles.push_back(
            fmt::format("{} is not shown: {}", picture.key, fmt::join(runtime::messages(error), ": ")));
      }
    }
    return shown;
  };
  return {.best = chosen([&](std::size_t i) { return model.predicted[i]; }),
          .worst = chosen([&](std::size_t i) { return -model.predicted[i]; }),
          .most_wrong = chosen([&](std::size_t i) { return std::abs(model.predicted[i] - model.rated[i]); })};
}

}  // namespace cskd::run_report

#include "evaluation/test_predictions.h"

#include <map>
#include <span>

#include <torch/types.h>

#include "batches/batches.h"
#include "inference/prediction.h"
#include "inference/stage_model.h"
#include "runtime/content_hash.h"
#include "runtime/error.h"

namespace cskd::evaluation {

data::TestViews test_views(config::TestViews views) {
  switch (views) {
    case config::mirrored:
      return data::TestViews::kMirrored;
    case config::centre:
      return data::TestViews::kCentre;
    case config::ten_crop:
      return data::TestViews::kTenCrop;
    default:
      return data::TestViews::kWhole;
  }
}

JudgedSplit predict_test_split(const run::Context& context, const std::vector<std::string>& stages) {
  const batches::CheckedCorpus checked(context);
  const data::Corpus& corpus = checked.corpus();
  const data::SampleSet test = data::SampleSet::of_split(corpus, shards::Split::kTest);
  if (test.size() == 0) throw runtime::UsageError("no source has a test split: there is nothing to evaluate on");
  TestPredictions common{.label_fraction = context.config.labels().fraction(),
                         .bin_centres = batches::bin_centres(corpus)};
  JudgedSplit judged;
  std::map<std::uint32_t, std::size_t> places;  // in judged.split.sources, by the number of a source in the manifest
  runtime::ContentHasher hasher;
  for (std::uint64_t i = 0; i < test.size(); ++i) {
    const data::SampleRef sample = test.at(i);
    const auto shard = corpus.shard(sample.shard);
    const std::uint32_t number = corpus.manifest().shards(static_cast<int>(sample.shard)).source();
    const shards::Manifest::Source& source = corpus.manifest().sources(static_cast<int>(number));
    const auto [place, is_new] = places.try_emplace(number, places.size());
    if (is_new) judged.split.sources.push_back({.name = source.name(), .rule = source.split_rule(), .pictures = 0});
    ++judged.split.sources[place->second].pictures;
    const std::span<const float> rated = shard->histogram(sample.row);
    common.keys.push_back(source.name() + "/" + shard->key(sample.row));
    common.sources.push_back(place->second);
    common.rated.emplace_back(rated.begin(), rated.end());
    hasher.add_field(common.keys.back());
    hasher.add(std::as_bytes(rated));
  }
  judged.split.pictures = test.size();
  judged.split.hash = hasher.hash().hex();
  for (const std::string& name : stages) {
    const inference::Model model = inference::load_stage_model(context, name, models::kScoreHead);
    const at::Tensor distributions =
        inference::predict_distributions(
            *model, checked, test,
            {.views = test_views(context.config.evaluate().views()), .doing = "test pictures were scored"}, context,
            [&](std::int64_t done, std::int64_t total) { context.progress("evaluate", done, total); })
            .to(at::kDouble)
            .mean(1)
            .contiguous();
    TestPredictions predictions = common;
    predictions.model = name;
    const std::int64_t bins = distributions.size(1);
    const auto* values = distributions.data_ptr<double>();
    for (std::int64_t i = 0; i < distributions.size(0); ++i)
      predictions.predicted.emplace_back(values + i * bins, values + (i + 1) * bins);
    judged.models.push_back(std::move(predictions));
  }
  return judged;
}

}  // namespace cskd::evaluation

#include "evaluation/test_predictions.h"

#include <torch/types.h>

#include "batches/batches.h"
#include "inference/prediction.h"
#include "inference/stage_model.h"
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

std::vector<TestPredictions> predict_test_split(const run::Context& context, const std::vector<std::string>& stages) {
  const batches::CheckedCorpus checked(context);
  const data::Corpus& corpus = checked.corpus();
  const data::SampleSet test = data::SampleSet::of_split(corpus, shards::Split::kTest);
  if (test.size() == 0) throw runtime::UsageError("no source has a test split: there is nothing to evaluate on");
  TestPredictions common{.label_fraction = context.config.labels().fraction(),
                         .bin_centres = batches::bin_centres(corpus)};
  for (std::uint64_t i = 0; i < test.size(); ++i) {
    const data::SampleRef sample = test.at(i);
    const auto shard = corpus.shard(sample.shard);
    const auto source = static_cast<int>(corpus.manifest().shards(static_cast<int>(sample.shard)).source());
    common.keys.push_back(corpus.manifest().sources(source).name() + "/" + shard->key(sample.row));
    const std::span<const float> rated = shard->histogram(sample.row);
    common.rated.emplace_back(rated.begin(), rated.end());
  }
  std::vector<TestPredictions> all;
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
    all.push_back(std::move(predictions));
  }
  return all;
}

}  // namespace cskd::evaluation

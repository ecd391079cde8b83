#include "evaluation/validation.h"

#include <fmt/format.h>
#include <torch/types.h>

#include "features/tower.h"
#include "inference/prediction.h"
#include "losses/alignment.h"
#include "metrics/metrics.h"
#include "runtime/error.h"

namespace cskd::evaluation {
namespace {

data::SampleSet validation_pictures(const batches::CheckedCorpus& corpus, std::uint64_t at_least) {
  data::SampleSet pictures = data::SampleSet::of_split(corpus.corpus(), shards::Split::kValidation);
  if (pictures.size() >= at_least) return pictures;
  throw runtime::UsageError(fmt::format(
      "validation needs {} validation pictures, but the corpus has {}: set validation_share of a rated source and pack "
      "it again, or set validate_every to 0",
      at_least, pictures.size()));
}

constexpr inference::Prediction kWholePictures{
    .views = data::TestViews::kWhole, .leave_out_damaged = true, .heeds_signals = false};

const auto kSilent = [](std::int64_t, std::int64_t) {};

}  // namespace

ScoreValidation::ScoreValidation(const batches::CheckedCorpus& corpus, const run::Context& context)
    : corpus_(corpus), context_(context) {}

Figures ScoreValidation::operator()(models::HeadedEncoder& model) {
  const data::SampleSet pictures = validation_pictures(corpus_, 2);
  const at::Tensor predicted =
      inference::predict_distributions(model, corpus_, pictures, kWholePictures, context_, kSilent)
          .select(1, 0)
          .to(at::kDouble)
          .contiguous();
  const std::int64_t bins = predicted.size(1);
  std::vector<metrics::RatedPrediction> rated;
  for (std::uint64_t i = 0; i < pictures.size(); ++i) {
    const auto* row = predicted.data_ptr<double>() + static_cast<std::int64_t>(i) * bins;
    if (std::isnan(*row)) continue;
    const data::SampleRef sample = pictures.at(i);
    const auto shard = corpus_.corpus().shard(sample.shard);
    const std::span<const float> label = shard->histogram(sample.row);
    rated.push_back({.predicted = {row, row + bins}, .rated = {label.begin(), label.end()}});
  }
  const std::vector<double> centres = batches::bin_centres(corpus_.corpus());
  const metrics::Scores scores = metrics::score(rated, {.bin_centres = centres,
                                                        .middle = metrics::middle_of(centres),
                                                        .resamples = 0,
                                                        .seed = context_.config.run().seed()});
  return {{"validation/srcc", scores.srcc.value},
          {"validation/plcc", scores.plcc.value},
          {"validation/accuracy", scores.accuracy.value},
          {"validation/emd2", scores.emd2.value}};
}

FeatureValidation::FeatureValidation(const batches::CheckedCorpus& corpus, const run::Context& context,
                                     std::vector<const config::Tower*> towers)
    : corpus_(corpus), context_(context), towers_(std::move(towers)) {}

Figures FeatureValidation::operator()(models::HeadedEncoder& model) {
  const data::SampleSet pictures = validation_pictures(corpus_, 1);
  const auto features = [&](const models::EncoderShape& shape, const auto& forward) {
    return inference::predict({.name = shape.name, .side = shape.image_size, .forward = forward}, corpus_, pictures,
                              kWholePictures, context_, kSilent)
        .select(1, 0);
  };
  for (std::size_t i = targets_.size(); i < towers_.size(); ++i) {
    const std::shared_ptr<models::Encoder> tower = features::load_tower(context_, *towers_[i]);
    targets_.push_back(features(tower->shape(), [&](const at::Tensor& pixels) {
      return tower->forward(models::normalise(pixels, tower->shape())).pooled;
    }));
  }
  const at::Tensor predicted = features(
      model.shape(), [&](const at::Tensor& pixels) { return model.forward(models::normalise(pixels, model.shape())); });
  const at::Tensor wanted = torch::cat(targets_, 1);
  const at::Tensor readable = torch::nonzero((predicted + wanted).isnan().any(1).logical_not()).flatten();
  double cosine = 0;
  double smooth_l1 = 0;
  std::int64_t from = 0;
  for (const at::Tensor& target : targets_) {
    const at::Tensor of_tower = predicted.narrow(1, from, target.size(1)).index_select(0, readable);
    cosine += losses::cosine_distance(of_tower, target.index_select(0, readable)).item<double>();
    smooth_l1 += losses::whitened_smooth_l1(of_tower, target.index_select(0, readable)).item<double>();
    from += target.size(1);
  }
  const auto towers = static_cast<double>(targets_.size());
  return {{"validation/cosine", cosine / towers}, {"validation/smooth_l1", smooth_l1 / towers}};
}

}  // namespace cskd::evaluation

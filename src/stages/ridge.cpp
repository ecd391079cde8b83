#include "stages/ridge.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <spdlog/spdlog.h>
#include <torch/types.h>

#include "batches/batches.h"
#include "config/tables.h"
#include "evaluation/test_predictions.h"
#include "evaluation/validation.h"
#include "inference/prediction.h"
#include "losses/alignment.h"
#include "models/safetensors.h"
#include "runtime/atomic_file.h"
#include "runtime/error.h"
#include "runtime/failure_point.h"
#include "runtime/shared_files.h"
#include "stages/inputs.h"
#include "stages/model_card.h"

namespace cskd::stages {
namespace {

// Features of so many pictures at once are in the memory of every rank.
constexpr std::uint64_t kAtOnce = 8192;
constexpr std::uint64_t kFewestInFold = 2;

at::Tensor vector_of(const std::vector<double>& values) { return torch::tensor(values, at::kDouble); }

std::uint64_t folds_of(const config::Ridge& ridge, std::uint64_t labels) {
  return std::min<std::uint64_t>(ridge.folds(), labels / kFewestInFold);
}

data::SampleSet labelled_pictures(const config::Config& config, const data::Corpus& corpus) {
  return data::training_sets(corpus, config.labels().fraction(), config.run().seed()).labelled;
}

// Label distributions [n, K] of some pictures.
at::Tensor labels_of(const data::Corpus& corpus, const data::SampleSet& pictures, std::int64_t bins) {
  at::Tensor labels = torch::empty({static_cast<std::int64_t>(pictures.size()), bins});
  for (std::uint64_t i = 0; i < pictures.size(); ++i) {
    const data::SampleRef sample = pictures.at(i);
    std::ranges::copy(corpus.shard(sample.shard)->histogram(sample.row), batches::row_of(labels, i).begin());
  }
  return labels.to(at::kDouble) / labels.to(at::kDouble).sum(1, true);
}

// What the pictures come to, in their order, so that the sums do not depend on the number of ranks.
struct KnownPictures {
  std::vector<at::Tensor> folds;  // ridge_sums() of each, none empty
  at::Tensor labels;              // [n, K] of all that could be read
  std::uint64_t unreadable = 0;
};

class RidgeStage {
 public:
  RidgeStage(const run::Context& context, const std::string& name)
      : context_(context),
        ridge_(config::table_named(context.config.ridge(), name)),
        stage_("ridge." + name),
        corpus_(context),
        centres_(batches::bin_centres(corpus_.corpus())),
        pictures_(labelled_pictures(context.config, corpus_.corpus())),
        source_(model_source(context.config, ridge_.from())) {}

  // The facts of the stage.
  nlohmann::ordered_json run() {
    const inference::Model model = frozen_model();
    // Before norms are folded: what is stored is the encoder itself.
    std::vector<std::pair<std::string, at::Tensor>> state;
    for (const auto& [name, tensor] : model->state()) state.emplace_back(name, tensor.to(at::kCPU).clone());
    model->encoder().fold_for_inference();
    const KnownPictures known = look_at_pictures(model->encoder());
    nlohmann::ordered_json facts;
    if (context_.world.rank() == 0) {
      const optim::ChosenRidge chosen = optim::cross_validated_ridge(known.folds);
      const double width = rating_width(known.labels, centres_);
      write(*model, state, score_layer(chosen.function, centres_, width));
      facts = {{"labels", known.labels.size(0)},
               {"unreadable", known.unreadable},
               {"folds", known.folds.size()},
               {"alpha", chosen.alpha},
               {"r2", chosen.r2},
               {"width", width}};
      spdlog::info("{}: {} labels, penalty {:.3g}, R2 of the parts left out {:.3f}", stage_, known.labels.size(0),
                   chosen.alpha, chosen.r2);
    }
    context_.world.barrier();
    runtime::wait_until_there(context_.folder.model(stage_));
    for (const auto& [figure, value] : validation()) facts[figure] = value;
    return facts;
  }

  std::uint64_t images() const { return pictures_.size(); }

 private:
  inference::Model frozen_model() const {
    inference::Model model =
        make_scorer(context_, source_, static_cast<std::int64_t>(centres_.size()), purpose_of(source_));
    start_weights(*model, ridge_.from(), context_);
    model->whiten_features(ridge_.whiten());
    model->eval();
    for (const torch::Tensor& parameter : model->parameters()) parameter.requires_grad_(false);
    return model;
  }

  KnownPictures look_at_pictures(models::Encoder& encoder) {
    const auto features = [&](const at::Tensor& pixels) {
      const at::Tensor pooled = encoder.forward(models::normalise(pixels, encoder.shape())).pooled;
      return (ridge_.whiten() ? losses::whiten(pooled) : pooled).to(at::kFloat);
    };
    const std::uint64_t folds = folds_of(ridge_, pictures_.size());
    KnownPictures known;
    std::vector<at::Tensor> sums(folds);
    std::vector<at::Tensor> labels;
    for (std::uint64_t first = 0; first < pictures_.size(); first += kAtOnce) {
      const data::SampleSet some = pictures_.slice(first, std::min(kAtOnce, pictures_.size() - first));
      const at::Tensor rows =
          inference::predict({.name = ridge_.from(), .side = encoder.shape().image_size, .forward = features}, corpus_,
                             some,
                             {.views = evaluation::test_views(ridge_.views()),
                              .leave_out_damaged = true,
                              .doing = "labelled pictures were looked at"},
                             context_,
                             [&](std::int64_t done, std::int64_t) {
                               context_.progress(stage_, static_cast<std::int64_t>(first) + done,
                                                 static_cast<std::int64_t>(pictures_.size()));
                             })
              .to(at::kDouble)
              .mean(1);
      const at::Tensor of_some = labels_of(corpus_.corpus(), some, static_cast<std::int64_t>(centres_.size()));
      const at::Tensor numbers =
          torch::arange(static_cast<std::int64_t>(first), static_cast<std::int64_t>(first + some.size()), at::kLong);
      const at::Tensor is_readable = rows.isfinite().all(1);
      for (std::uint64_t fold = 0; fold < folds; ++fold) {
        const at::Tensor is_in =
            numbers.remainder(static_cast<std::int64_t>(folds)).eq(static_cast<std::int64_t>(fold));
        const at::Tensor of_fold = torch::nonzero(is_in.logical_and(is_readable)).flatten();
        if (of_fold.size(0) == 0) continue;
        const at::Tensor scores = torch::mv(of_some.index_select(0, of_fold), vector_of(centres_));
        const at::Tensor added = optim::ridge_sums(rows.index_select(0, of_fold), scores);
        sums[fold] = sums[fold].defined() ? sums[fold] + added : added;
      }
      const at::Tensor readable = torch::nonzero(is_readable).flatten();
      labels.push_back(of_some.index_select(0, readable));
      known.unreadable += some.size() - static_cast<std::uint64_t>(readable.size(0));
    }
    std::ranges::copy_if(sums, std::back_inserter(known.folds), &at::Tensor::defined);
    known.labels = torch::cat(labels);
    if (known.folds.size() < 2) {
      throw runtime::DataError(fmt::format("{} of {} labelled pictures cannot be read: too few are left for {}",
                                           known.unreadable, pictures_.size(), stage_));
    }
    return known;
  }

  void write(const models::HeadedEncoder& model, std::vector<std::pair<std::string, at::Tensor>> state,
             const ScoreLayer& layer) const {
    runtime::failure_point("stage.model", stage_);
    const std::string head = models::kScoreHead;
    std::int64_t parameters = 0;
    for (auto& [name, tensor] : state) {
      if (name == head + ".weight") tensor = layer.weight.to(at::kFloat).contiguous();
      if (name == head + ".bias") tensor = layer.bias.to(at::kFloat).contiguous();
      models::require_finite(tensor, name, context_.folder.model(stage_).native());
      parameters += tensor.numel();
    }
    const auto bins = static_cast<std::int64_t>(centres_.size());
    models::write_model(context_.folder.model(stage_), state, models::model_metadata(model, stage_, bins));
    const std::string training = fmt::format(
        "The encoder of {}, frozen; its head by ridge regression on {} features, {} labelled pictures, seed {}, {} % "
        "of the ratings of the training split.",
        ridge_.from(), ridge_.whiten() ? "whitened" : "its", pictures_.size(), context_.config.run().seed(),
        100 * context_.config.labels().fraction());
    runtime::write_file_atomically(
        context_.folder.stage(stage_) / "model_card.md",
        model_card(
            context_.config,
            {.stage = stage_, .shape = model.shape(), .outputs = bins, .parameters = parameters, .training = training},
            corpus_.corpus().manifest()));
  }

  evaluation::Figures validation() {
    if (data::SampleSet::of_split(corpus_.corpus(), shards::Split::kValidation).size() < 2) return {};
    const inference::Model scorer = inference::load_stage_model(context_, stage_, models::kScoreHead);
    return evaluation::ScoreValidation(corpus_, context_)(*scorer);
  }

  const run::Context& context_;
  const config::Ridge& ridge_;
  const std::string stage_;
  batches::CheckedCorpus corpus_;
  const std::vector<double> centres_;
  const data::SampleSet pictures_;
  const ModelSource source_;
};

}  // namespace

ScoreLayer score_layer(const optim::LinearFunction& function, const std::vector<double>& bin_centres, double width) {
  const at::Tensor centres = vector_of(bin_centres);
  // About the middle of the scale, so that float32 holds the logits well; a constant added to all does not count.
  const at::Tensor middle = centres.mean();
  const at::Tensor slopes = (centres - middle) / (width * width);
  return {.weight = torch::outer(slopes, function.weights),
          .bias = slopes * (function.intercept - middle) - (centres - middle).square() / (2 * width * width)};
}

double rating_width(const at::Tensor& labels, const std::vector<double>& bin_centres) {
  const at::Tensor centres = vector_of(bin_centres);
  const at::Tensor means = torch::mv(labels, centres);
  const double variance = (torch::mv(labels, centres.square()) - means.square()).mean().item<double>();
  const double spacing = bin_centres.size() < 2
                             ? 1
                             : (bin_centres.back() - bin_centres.front()) / static_cast<double>(bin_centres.size() - 1);
  return std::max(std::sqrt(std::max(variance, 0.0)), 0.75 * std::abs(spacing));
}

TeacherPass ridge_pass(const config::Config& config, const std::string& name) {
  const config::Ridge& ridge = config::table_named(config.ridge(), name);
  return {.teacher = model_source(config, ridge.from()),
          .pictures = PictureStream::Pictures::kLabelled,
          .views = data::count_of(evaluation::test_views(ridge.views()))};
}

void require_ridge_labels(const config::Config& config, const std::string& name, const data::Corpus& corpus) {
  batches::bin_centres(corpus);
  const std::uint64_t labels = labelled_pictures(config, corpus).size();
  if (folds_of(config::table_named(config.ridge(), name), labels) >= 2) return;
  throw runtime::UsageError(
      fmt::format("ridge.{} has {} labelled pictures, but needs {} to leave some out: raise labels.fraction", name,
                  labels, 2 * kFewestInFold));
}

run::StageOutcome run_ridge(const run::Context& context, const std::string& name) {
  const std::string stage = "ridge." + name;
  const std::filesystem::path folder = context.folder.stage(stage);
  run::StageOutcome outcome{
      .completion = {.stage = stage, .inputs = ridge_inputs(context.config, context.folder, name)}};
  if (const auto done =
          run::agree_on_completion(folder, outcome.completion.inputs, context.world, run::OtherInputs::kMakeAgain)) {
    runtime::wait_until_there(context.folder.model(stage));
    return {.completion = *done, .done_before = true};
  }
  const auto start = std::chrono::steady_clock::now();
  {
    const data::Corpus corpus(context.folder.shards());
    require_ridge_labels(context.config, name, corpus);
  }
  run::make_stage_folder(folder, context.world);
  RidgeStage work(context, name);
  outcome.completion.facts = work.run().dump();
  outcome.completion.images = work.images();
  outcome.completion.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  outcome.completion.products = {"model.safetensors"};
  if (context.world.rank() == 0) run::write_completion(folder, outcome.completion);
  context.world.barrier();
  return outcome;
}

}  // namespace cskd::stages

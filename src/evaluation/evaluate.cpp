#include "evaluation/evaluate.h"

#include <algorithm>
#include <chrono>
#include <filesystem>

#include <fmt/format.h>

#include "config/toml_writer.h"
#include "evaluation/results.h"
#include "metrics/metrics.h"
#include "run/provenance.h"
#include "runtime/content_hash.h"
#include "runtime/error.h"
#include "runtime/failure_point.h"
#include "runtime/input_file.h"

namespace cskd::evaluation {
namespace {

runtime::Inputs evaluate_inputs(const run::Context& context, const std::vector<JudgedModel>& models) {
  runtime::Inputs inputs = run::corpus_inputs(context);
  inputs.add(config::settings_of(context.config.evaluate(), "evaluate"));
  inputs.add(config::settings_of(context.config.labels(), "labels"));
  for (const JudgedModel& model : models) {
    const runtime::InputFile weights(context.folder.model(model.stage));
    inputs.add("model of " + model.stage, runtime::content_hash(weights).hex());
  }
  return inputs;
}

// Those that rank 0 sees.
std::vector<JudgedModel> trained(const run::Context& context, std::vector<JudgedModel> models) {
  std::erase_if(models, [&](const JudgedModel& model) {
    const bool is_there = context.world.rank() == 0 && std::filesystem::exists(context.folder.model(model.stage));
    return !context.world.any(is_there);
  });
  if (models.empty()) {
    throw runtime::UsageError(
        fmt::format("{} holds no trained model: run 'cskd distill' first", context.config.run().folder()));
  }
  return models;
}

}  // namespace

std::filesystem::path results_folder(const run::RunFolder& folder) { return folder.stage("evaluate"); }

run::StageOutcome run_evaluate(const run::Context& context, const std::vector<JudgedModel>& models) {
  const auto start = std::chrono::steady_clock::now();
  const std::vector<JudgedModel> judged = trained(context, models);
  const std::filesystem::path folder = results_folder(context.folder);
  run::StageOutcome outcome{.completion = {.stage = "evaluate", .inputs = evaluate_inputs(context, judged)}};
  if (const auto done =
          run::agree_on_completion(folder, outcome.completion.inputs, context.world, run::OtherInputs::kMakeAgain)) {
    return {.completion = *done, .done_before = true};
  }
  run::make_stage_folder(folder, context.world);
  runtime::failure_point("evaluate.start", folder.native());
  std::vector<std::string> stages;
  for (const JudgedModel& model : judged) stages.push_back(model.stage);
  std::vector<TestPredictions> all = predict_test_split(context, stages);
  std::vector<ModelResult> results;
  for (std::size_t i = 0; i < all.size(); ++i) {
    TestPredictions& predictions = all[i];
    std::vector<metrics::RatedPrediction> pictures;
    for (std::size_t picture = 0; picture < predictions.predicted.size(); ++picture)
      pictures.push_back({predictions.predicted[picture], predictions.rated[picture]});
    const metrics::ScoreOptions options{.bin_centres = predictions.bin_centres,
                                        .middle = metrics::middle_of(predictions.bin_centres),
                                        .resamples = static_cast<int>(context.config.evaluate().resamples()),
                                        .seed = context.config.run().seed()};
    predictions.model = judged[i].name;
    if (context.world.rank() == 0)
      results.push_back({predictions.model, predictions.label_fraction, metrics::score(pictures, options)});
    outcome.completion.images += pictures.size();
  }
  outcome.completion.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  if (context.world.rank() == 0) {
    outcome.completion.products = write_results(folder, results, all);
    run::write_completion(folder, outcome.completion);
  }
  context.world.barrier();
  return outcome;
}

}  // namespace cskd::evaluation

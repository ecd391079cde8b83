#include "evaluation/evaluate.h"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <optional>
#include <string_view>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <spdlog/spdlog.h>

#include "config/tables.h"
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

// Those that rank 0 sees.
std::vector<std::string> trained(const run::Context& context, std::vector<std::string> stages, bool all_needed) {
  std::vector<std::string> lacking;
  std::erase_if(stages, [&](const std::string& stage) {
    const bool is_there = context.world.rank() == 0 && std::filesystem::exists(context.folder.model(stage));
    if (context.world.any(is_there)) return false;
    lacking.push_back(stage);
    return true;
  });
  if (stages.empty() || (all_needed && !lacking.empty())) {
    throw runtime::UsageError(fmt::format("{} holds no model of {} yet: train {} first", context.config.run().folder(),
                                          fmt::join(lacking, ", "), lacking.size() == 1 ? "it" : "one of them"));
  }
  if (context.world.rank() == 0 && !lacking.empty())
    spdlog::warn("not evaluated, because not trained yet: {}", fmt::join(lacking, ", "));
  return stages;
}

using Distributions = std::vector<std::vector<double>>;

std::vector<metrics::RatedPrediction> paired(const Distributions& predicted, const Distributions& wanted) {
  std::vector<metrics::RatedPrediction> pictures;
  for (std::size_t picture = 0; picture < predicted.size(); ++picture)
    pictures.push_back({predicted[picture], wanted[picture]});
  return pictures;
}

metrics::ScoreOptions score_options(const TestPredictions& of, const config::Config& config) {
  return {.bin_centres = of.bin_centres,
          .middle = metrics::middle_of(of.bin_centres),
          .resamples = static_cast<int>(config.evaluate().resamples()),
          .seed = config.run().seed()};
}

metrics::Scores scores_of(const Distributions& predicted, const Distributions& wanted, const TestPredictions& of,
                          const config::Config& config) {
  return metrics::score(paired(predicted, wanted), score_options(of, config));
}

std::vector<std::pair<std::string, metrics::Scores>> by_source(const TestPredictions& model, const TestSplit& split,
                                                               const config::Config& config) {
  std::vector<std::pair<std::string, metrics::Scores>> result;
  if (split.sources.size() < 2) return result;
  for (std::size_t source = 0; source < split.sources.size(); ++source) {
    if (split.sources[source].pictures < 2) continue;
    Distributions predicted;
    Distributions rated;
    for (std::size_t picture = 0; picture < model.sources.size(); ++picture) {
      if (model.sources[picture] != source) continue;
      predicted.push_back(model.predicted[picture]);
      rated.push_back(model.rated[picture]);
    }
    result.emplace_back(split.sources[source].name, scores_of(predicted, rated, model, config));
  }
  return result;
}

// Null for other models than students.
const config::Distill* student_of(const config::Config& config, const std::string& model) {
  constexpr std::string_view kStudents = "distill.";
  return model.starts_with(kStudents) ? &config::table_named(config.distill(), model.substr(kStudents.size()))
                                      : nullptr;
}

// Nothing for other models than students, without teachers, and where a teacher was not evaluated.
std::optional<Fidelity> fidelity_of(const TestPredictions& student, const std::vector<TestPredictions>& all,
                                    const config::Config& config) {
  const config::Distill* distill = student_of(config, student.model);
  if (distill == nullptr || distill->teachers().empty()) return std::nullopt;
  Distributions answers(student.predicted.size(), std::vector<double>(student.bin_centres.size(), 0));
  for (const std::string& name : distill->teachers()) {
    const auto teacher = std::ranges::find(all, name, &TestPredictions::model);
    if (teacher == all.end()) return std::nullopt;
    for (std::size_t picture = 0; picture < answers.size(); ++picture) {
      for (std::size_t bin = 0; bin < answers[picture].size(); ++bin)
        answers[picture][bin] += teacher->predicted[picture][bin] / distill->teachers_size();
    }
  }
  return Fidelity{.teachers = {distill->teachers().begin(), distill->teachers().end()},
                  .srcc = scores_of(student.predicted, answers, student, config).srcc,
                  .teachers_srcc = scores_of(answers, student.rated, student, config).srcc};
}

}  // namespace

std::filesystem::path results_folder(const run::RunFolder& folder) { return folder.stage("evaluate"); }

runtime::Inputs evaluate_inputs(const config::Config& config, const run::RunFolder& folder,
                                const std::vector<std::string>& stages) {
  runtime::Inputs inputs = run::seeded_corpus_inputs(config, folder);
  config::Evaluate settings = config.evaluate();
  settings.clear_models();  // those that are judged are among the inputs
  inputs.add(config::settings_of(settings, "evaluate"));
  inputs.add(config::settings_of(config.labels(), "labels"));
  inputs.add("results", "2");  // of these files' form
  for (const std::string& stage : stages) {
    const runtime::InputFile weights(folder.model(stage));
    inputs.add("model of " + stage, runtime::content_hash(weights).hex());
    if (const config::Distill* student = student_of(config, stage))
      inputs.add(stage + ".teachers", fmt::format("[{}]", fmt::join(student->teachers(), ", ")));
  }
  return inputs;
}

run::StageOutcome run_evaluate(const run::Context& context, const std::vector<std::string>& stages, bool all_needed) {
  const auto start = std::chrono::steady_clock::now();
  const std::vector<std::string> judged = trained(context, stages, all_needed);
  const std::filesystem::path folder = results_folder(context.folder);
  run::StageOutcome outcome{
      .completion = {.stage = "evaluate", .inputs = evaluate_inputs(context.config, context.folder, judged)}};
  if (const auto done =
          run::agree_on_completion(folder, outcome.completion.inputs, context.world, run::OtherInputs::kMakeAgain)) {
    return {.completion = *done, .done_before = true};
  }
  run::make_stage_folder(folder, context.world);
  runtime::failure_point("evaluate.start", folder.native());
  const auto [split, all] = predict_test_split(context, judged);
  outcome.completion.images = split.pictures * all.size();
  Results results{.split = split};
  for (const TestPredictions& predictions : all) {
    if (context.world.rank() != 0) break;
    results.models.push_back(
        {.model = predictions.model,
         .label_fraction = predictions.label_fraction,
         .scores = scores_of(predictions.predicted, predictions.rated, predictions, context.config),
         .by_source = by_source(predictions, split, context.config),
         .fidelity = fidelity_of(predictions, all, context.config)});
    if (&predictions == &all.front()) continue;
    results.differences.push_back(
        {.first = all.front().model,
         .second = predictions.model,
         .difference = metrics::paired_difference(paired(all.front().predicted, predictions.rated),
                                                  paired(predictions.predicted, predictions.rated),
                                                  score_options(predictions, context.config))});
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

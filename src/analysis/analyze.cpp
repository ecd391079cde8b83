#include "analysis/analyze.h"

#include <algorithm>
#include <chrono>
#include <optional>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <spdlog/spdlog.h>
#include <torch/types.h>

#include "analysis/attention_meter.h"
#include "analysis/collapse_measures.h"
#include "analysis/findings.h"
#include "analysis/page.h"
#include "analysis/picture_share.h"
#include "analysis/probes.h"
#include "analysis/ranks.h"
#include "analysis/shown_maps.h"
#include "analysis/subjects.h"
#include "config/toml_writer.h"
#include "data/sampler.h"
#include "run/provenance.h"
#include "runtime/atomic_file.h"
#include "runtime/content_hash.h"
#include "runtime/error.h"
#include "runtime/failure_point.h"
#include "runtime/input_file.h"
#include "runtime/stop_signal.h"
#include "runtime/work_queue.h"
#include "shards/manifest.h"

namespace cskd::analysis {
namespace {

constexpr const char* kStage = "analyze";
constexpr const char* kJsonFile = "analysis.json";
constexpr const char* kCsvFile = "analysis.csv";
constexpr const char* kPageFile = "analysis.html";
constexpr std::uint64_t kLargestFindings = 1 << 28;
constexpr std::int64_t kPairsAtOnce = 1024;  // directions of one rank that others see at a time

// Raise it with any change that changes a figure.
constexpr int kAnalysisVersion = 1;

runtime::Inputs analysis_inputs(const run::Context& context, const std::vector<std::string>& names,
                                const std::vector<std::string>& towers) {
  runtime::Inputs inputs = run::seeded_corpus_inputs(context.config, context.folder);
  inputs.add(config::settings_of(context.config.analyze(), kStage));
  inputs.add("analyze.version", std::to_string(kAnalysisVersion));
  inputs.add("analyze.models", fmt::format("{}", fmt::join(names, " ")));
  inputs.add("evaluate.resamples", std::to_string(context.config.evaluate().resamples()));
  for (const std::vector<std::string>* list : {&names, &towers}) {
    for (const std::string& subject : *list) inputs.add(subject_inputs(context, subject));
  }
  return inputs;
}

shards::Split split_of(const config::Config& config) {
  switch (config.analyze().split()) {
    case config::Analyze::train:
      return shards::Split::kTrain;
    case config::Analyze::validation:
      return shards::Split::kValidation;
    case config::Analyze::test:
      return shards::Split::kTest;
    default:
      return shards::Split::kUnlabelled;
  }
}

// The pictures to look at. Throws UsageError when there are fewer than two.
data::SampleSet pictures_of(const run::Context& context, const data::Corpus& corpus, Findings& findings) {
  const shards::Split split = split_of(context.config);
  const data::SampleSet all = data::SampleSet::of_split(corpus, split);
  findings.split = shards::to_string(split);
  findings.wanted = context.config.analyze().pictures();
  findings.found = std::min(all.size(), findings.wanted);
  findings.seed = context.config.run().seed();
  if (findings.found < 2) {
    std::string others;
    for (const shards::Split other :
         {shards::Split::kUnlabelled, shards::Split::kTrain, shards::Split::kValidation, shards::Split::kTest}) {
      others += fmt::format("{}{} {}", others.empty() ? "" : ", ", data::SampleSet::of_split(corpus, other).size(),
                            shards::to_string(other));
    }
    throw runtime::UsageError(
        fmt::format("analyze.split is \"{}\", which has {} pictures, but at least 2 are needed; the corpus has {}",
                    findings.split, all.size(), others));
  }
  if (findings.found < findings.wanted && context.world.rank() == 0) {
    spdlog::warn("analyze.pictures is {}, but the {} split has {}: all of them are taken", findings.wanted,
                 findings.split, findings.found);
  }
  return all.choose(findings.seed, data::kStreamAnalysedPictures, findings.found, false);
}

// The grid that tokens of all subjects are pooled to; 0: none has one.
int affinity_grid(const run::Context& context, const std::vector<std::string>& names) {
  if (const auto configured = static_cast<int>(context.config.analyze().affinity_grid()); configured > 0)
    return configured;
  int smallest = 0;
  for (const std::string& name : names) {
    const int grid = subject_shape(context, name).grid;
    if (grid >= 2 && (smallest == 0 || grid < smallest)) smallest = grid;
  }
  return smallest;
}

// Sums of all ranks.
FeatureSums summed_features(const at::Tensor& features, distributed::Communicator& communicator) {
  const FeatureSums own = feature_sums(features);
  return {.products = summed(own.products, communicator, "products of features"),
          .total = summed(own.total, communicator, "features"),
          .direction_total = summed(own.direction_total, communicator, "directions"),
          .direction_squares = summed(own.direction_squares, communicator, "directions")};
}

// A model's features of the pictures, to compare others with.
struct Reference {
  std::string name;
  at::Tensor rows;  // of this rank
  FeatureSums sums;
};

class Analysis {
 public:
  Analysis(const run::Context& context, const std::vector<std::string>& names, const std::vector<std::string>& towers)
      : context_(context),
        names_(names),
        towers_(towers),
        corpus_(context),
        uncounted_(corpus_.uncounted()),
        pictures_(pictures_of(context, corpus_.corpus(), findings_)),
        probes_(context, corpus_),
        affinity_grid_(affinity_grid(context, names)) {
    const config::Analyze& settings = context.config.analyze();
    if (context.world.rank() == 0) shown_.emplace(context, corpus_, pictures_, settings.shown_pictures());
    findings_.probe_split = settings.probe_on_test() ? "test" : "validation";
    findings_.no_probes = probes_.reason();
    if (!probes_.reason().empty() && context.world.rank() == 0)
      spdlog::warn("no linear probe and no nearest neighbours: {}", probes_.reason());
  }

  // All of it; whole on rank 0.
  const Findings& run() {
    // Towers that others are compared with come first, also those that nobody asked for.
    for (const std::string& tower : towers_) {
      if (std::ranges::find(names_, tower) == names_.end()) look_at(tower, false);
    }
    for (const std::string& name : names_) {
      if (context_.world.any(runtime::StopSignal::received() != 0)) throw runtime::Stopped("models were analysed");
      findings_.models.push_back(look_at(name, true));
    }
    compare_towers();
    if (shown_) findings_.shown = shown_->pictures();
    return findings_;
  }

  std::uint64_t images() const { return images_; }

 private:
  // `doing` is for the display.
  FeatureRows pass(const std::string& doing, const std::string& name, models::Encoder& encoder,
                   const data::SampleSet& samples, const models::Request& request,
                   const std::function<void(const models::Features&)>& use) {
    images_ += samples.size();
    FeatureRows rows =
        pass_over({.name = name, .encoder = encoder, .request = request, .use = use}, corpus_, samples, context_,
                  [&](std::int64_t done, std::int64_t total) { context_.progress(doing + " " + name, done, total); });
    require_readable(rows, samples);
    return rows;
  }

  // Of all ranks.
  std::uint64_t over_ranks(std::uint64_t own, const char* label) const {
    const at::Tensor sum =
        summed(torch::full({1}, static_cast<std::int64_t>(own), at::kLong), context_.communicator, label);
    return static_cast<std::uint64_t>(sum.item<std::int64_t>());
  }

  // As many as data.max_damaged allows, as in trainings.
  void require_readable(const FeatureRows& rows, const data::SampleSet& samples) const {
    const std::uint64_t unreadable = over_ranks(rows.unreadable, "unreadable pictures");
    const double uses = static_cast<double>(std::max(samples.size(), data::DamageLog::kFewUses));
    const double allowed = context_.config.data().max_damaged() * uses;
    if (static_cast<double>(unreadable) <= allowed && samples.size() >= unreadable + 2) return;
    throw runtime::DataError(
        fmt::format("{} of {} pictures cannot be read (data.max_damaged is {:g}); 'cskd inspect {} --verify' names all "
                    "that are damaged",
                    unreadable, samples.size(), context_.config.data().max_damaged(), context_.folder.root.native()));
  }

  ModelFindings look_at(const std::string& name, bool is_asked) {
    runtime::failure_point("analyze.model", name);
    distributed::Communicator& communicator = context_.communicator;
    const std::shared_ptr<models::Encoder> encoder = load_subject(context_, name);
    const models::EncoderShape& shape = encoder->shape();
    ModelFindings found{.name = name,
                        .encoder = shape.name,
                        .image_size = shape.image_size,
                        .width = shape.pooled_width,
                        .grid = shape.grid,
                        .is_trained = subject_is_trained(context_, name)};
    AttentionMeter meter(shape, is_asked ? std::min(affinity_grid_, shape.grid) : 0,
                         static_cast<int>(context_.config.analyze().distance_bins()));
    const FeatureRows rows = is_asked ? pass(kStage, name, *encoder, pictures_, meter.request(),
                                             [&](const models::Features& features) { meter.add(features); })
                                      : pass(kStage, name, *encoder, pictures_, {}, {});
    // The same for every model.
    findings_.unreadable = over_ranks(rows.unreadable, "unreadable pictures");
    Reference own{.name = name, .rows = rows.features, .sums = summed_features(rows.features, communicator)};
    if (is_asked) {
      meter.finish(communicator, found);
      found.collapse = collapse_of(own);
      probe_features(name, *encoder, found);
      if (shown_) found.maps = shown_->maps(*encoder);
    }
    if (is_tower(name)) references_.push_back(std::move(own));
    return found;
  }

  CollapseFigures collapse_of(const Reference& own) {
    const auto n = static_cast<std::int64_t>(findings_.measured());
    distributed::Communicator& communicator = context_.communicator;
    const at::Tensor values = singular_values(own.sums.products, n);
    CollapseFigures figures{
        .rank_me = rank_me(values),
        .direction_std = direction_std(own.sums, n),
        .uniformity = 0,
        .singular_values = {values.const_data_ptr<double>(), values.const_data_ptr<double>() + values.numel()},
        .cka = {}};
    const at::Tensor unit = directions(own.rows);
    double potential = 0;
    with_rows_of_all(unit, kPairsAtOnce, communicator,
                     [&](const at::Tensor& others, int) { potential += pair_potential(others, unit); });
    potential = summed(torch::full({1}, potential, at::kDouble), communicator, "pairs of features").item<double>();
    figures.uniformity = uniformity(potential, n);
    if (!is_tower(own.name)) {
      for (const Reference& tower : references_) figures.cka[tower.name] = cka(own, tower, n);
    }
    return figures;
  }

  bool is_tower(const std::string& name) const { return std::ranges::find(towers_, name) != towers_.end(); }

  // With each other, once all of them are there.
  void compare_towers() {
    for (ModelFindings& model : findings_.models) {
      const auto own = std::ranges::find(references_, model.name, &Reference::name);
      if (own == references_.end()) continue;
      for (const Reference& other : references_)
        model.collapse.cka[other.name] = cka(*own, other, static_cast<std::int64_t>(findings_.measured()));
    }
  }

  double cka(const Reference& own, const Reference& tower, std::int64_t n) {
    const at::Tensor cross = summed(torch::matmul(own.rows.to(at::kDouble).t(), tower.rows.to(at::kDouble)),
                                    context_.communicator, "products of two models");
    return linear_cka(own.sums, tower.sums, cross, n);
  }

  void probe_features(const std::string& name, models::Encoder& encoder, ModelFindings& found) {
    if (!probes_.reason().empty()) return;
    const FeatureRows training = pass("training pictures of", name, encoder, probes_.training(), {}, {});
    const FeatureRows judged = pass("judged pictures of", name, encoder, probes_.judged(), {}, {});
    found.probes = probe(probes_, training, judged, context_, corpus_);
    findings_.probe_pictures = over_ranks(judged.numbers.size(), "judged pictures");
  }

  const run::Context& context_;
  const std::vector<std::string>& names_;
  const std::vector<std::string>& towers_;
  Findings findings_;
  batches::CheckedCorpus corpus_;
  // Every model goes through the same pictures: unreadable ones are counted once, by require_readable().
  const data::DamageLog::Uncounted uncounted_;
  const data::SampleSet pictures_;
  const ProbeSet probes_;
  const int affinity_grid_;
  std::optional<ShownPictures> shown_;  // on rank 0
  std::vector<Reference> references_;
  std::uint64_t images_ = 0;
};

}  // namespace

std::filesystem::path analysis_folder(const run::RunFolder& folder) { return folder.stage(kStage); }

run::StageOutcome run_analyze(const run::Context& context, const std::vector<std::string>& asked) {
  const auto start = std::chrono::steady_clock::now();
  const bool is_packed =
      context.world.rank() == 0 && std::filesystem::exists(context.folder.shards() / shards::kManifestFile);
  const std::vector<std::string> names = subjects(context, asked);
  if (!context.world.any(is_packed))
    throw runtime::UsageError("there are no pictures to look at: run 'cskd shard CONFIG' first");
  const std::vector<std::string> towers = towers_to_compare(context);
  const std::filesystem::path folder = analysis_folder(context.folder);
  // Ranks wait for the one that solves and writes.
  context.world.set_timeout(std::max<std::chrono::milliseconds>(context.world.timeout(), std::chrono::hours(1)));
  run::StageOutcome outcome{.completion = {.stage = kStage, .inputs = analysis_inputs(context, names, towers)}};
  if (const auto done =
          run::agree_on_completion(folder, outcome.completion.inputs, context.world, run::OtherInputs::kMakeAgain)) {
    return {.completion = *done, .done_before = true};
  }
  run::make_stage_folder(folder, context.world);
  Analysis analysis(context, names, towers);
  const Findings& findings = analysis.run();
  outcome.completion.images = analysis.images();
  outcome.completion.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  if (context.world.rank() == 0) {
    runtime::write_file_atomically(folder / kJsonFile, to_json(findings));
    runtime::write_file_atomically(folder / kCsvFile, to_csv(findings));
    runtime::write_file_atomically(folder / kPageFile, to_page(findings));
    outcome.completion.products = {kJsonFile, kCsvFile, kPageFile};
    run::write_completion(folder, outcome.completion);
  }
  context.world.barrier();
  return outcome;
}

std::string analysis_json(const run::RunFolder& folder) {
  return runtime::read_text_file(analysis_folder(folder) / kJsonFile, kLargestFindings);
}

std::string analysis_table(const run::RunFolder& folder) {
  return table_of(analysis_json(folder), (analysis_folder(folder) / kJsonFile).native());
}

}  // namespace cskd::analysis

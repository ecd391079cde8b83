#include "analysis/probes.h"

#include <algorithm>
#include <functional>
#include <map>
#include <numeric>
#include <span>
#include <utility>

#include <fmt/format.h>
#include <torch/types.h>

#include "analysis/nearest_neighbours.h"
#include "analysis/ranks.h"
#include "data/sampler.h"
#include "optim/ridge_regression.h"
#include "runtime/error.h"
#include "runtime/philox.h"

namespace cskd::analysis {
namespace {

constexpr std::int64_t kQueriesAtOnce = 512;
constexpr std::uint64_t kFewestJudged = 3;

// Each once, the largest first.
std::vector<double> fractions_of(const config::Config& config) {
  std::vector<double> fractions(config.analyze().label_fractions().begin(), config.analyze().label_fractions().end());
  std::ranges::sort(fractions, std::greater<>());
  const auto again = std::ranges::unique(fractions);
  fractions.erase(again.begin(), again.end());
  return fractions;
}

// Numbers of samples in a set.
class Numbers {
 public:
  explicit Numbers(const data::SampleSet& set) {
    for (std::uint64_t i = 0; i < set.size(); ++i) {
      const data::SampleRef sample = set.at(i);
      numbers_.emplace(std::pair(sample.shard, sample.row), i);
    }
  }

  // -1: it is not among them.
  std::int64_t of(const data::SampleRef& sample) const {
    const auto found = numbers_.find({sample.shard, sample.row});
    return found == numbers_.end() ? -1 : static_cast<std::int64_t>(found->second);
  }

 private:
  std::map<std::pair<std::uint32_t, std::uint64_t>, std::uint64_t> numbers_;
};

std::vector<double> list_of(const at::Tensor& values) {
  const at::Tensor flat = values.contiguous();
  return {flat.const_data_ptr<double>(), flat.const_data_ptr<double>() + flat.numel()};
}

// What all ranks predict and know of the judged pictures that could be read.
struct Judged {
  std::vector<double> predicted, rated;
};

// `predicted` and `scores` are of this rank's rows. Collective.
Judged gathered(const at::Tensor& predicted, const at::Tensor& scores, const FeatureRows& rows, std::uint64_t total,
                distributed::Communicator& communicator) {
  at::Tensor table = torch::zeros({3, static_cast<std::int64_t>(total)}, at::kDouble);
  std::vector<std::int64_t> numbers(rows.numbers.begin(), rows.numbers.end());
  const at::Tensor places = torch::tensor(numbers, at::kLong);
  table[0].index_copy_(0, places, predicted);
  table[1].index_copy_(0, places, scores);
  table[2].index_fill_(0, places, 1.0);
  table = summed(table, communicator, "predictions of a probe");
  const at::Tensor readable = torch::nonzero(table[2]).flatten();
  return {list_of(table[0].index_select(0, readable)), list_of(table[1].index_select(0, readable))};
}

// One share of the labels, as this rank holds it.
struct KnownLabels {
  at::Tensor features;             // [n, D]
  at::Tensor scores;               // [n]
  std::vector<std::int64_t> fold;  // of each
};

std::uint64_t count_of_all(std::int64_t own, distributed::Communicator& communicator) {
  return static_cast<std::uint64_t>(
      summed(torch::full({1}, own, at::kLong), communicator, "labels of a probe").item<std::int64_t>());
}

optim::ChosenRidge fit(const KnownLabels& known, std::int64_t folds, distributed::Communicator& communicator) {
  std::vector<at::Tensor> sums;
  for (std::int64_t fold = 0; fold < folds; ++fold) {
    const at::Tensor rows = torch::nonzero(torch::tensor(known.fold, at::kLong).eq(fold)).flatten();
    sums.push_back(summed(optim::ridge_sums(known.features.index_select(0, rows), known.scores.index_select(0, rows)),
                          communicator, "sums of a probe"));
  }
  // A fold whose pictures were all unreadable.
  std::erase_if(sums, [](const at::Tensor& fold) { return fold[-1][-1].item<double>() < 1; });
  // One rank decides: another one's rounding could choose another penalty.
  const std::int64_t width = known.features.size(1);
  at::Tensor chosen = torch::zeros({width + 2}, at::kDouble);
  if (communicator.rank() == 0) {
    const optim::ChosenRidge ridge = optim::cross_validated_ridge(sums);
    chosen.slice(0, 0, width).copy_(ridge.function.weights);
    chosen[width] = ridge.function.intercept;
    chosen[width + 1] = ridge.alpha;
  }
  chosen = of_first_rank(chosen, communicator, "linear probe");
  return {.function = {.weights = chosen.slice(0, 0, width).clone(), .intercept = chosen[width].item<double>()},
          .alpha = chosen[width + 1].item<double>()};
}

// Mean scores of the neighbours of this rank's judged pictures, among the known ones of all ranks.
at::Tensor neighbour_scores(const KnownLabels& known, const at::Tensor& judged, std::int64_t count,
                            distributed::Communicator& communicator) {
  std::vector<at::Tensor> own;
  with_rows_of_all(judged, kQueriesAtOnce, communicator, [&](const at::Tensor& queries, int rank) {
    const Neighbours found = nearest_neighbours(queries, known.features, known.scores, count);
    const at::Tensor both = torch::stack({found.similarities, found.scores}).to(communicator.device());
    const std::vector<at::Tensor> of_all = communicator.all_gather(both, "nearest neighbours");
    if (rank != communicator.rank()) return;
    const auto neighbours_in = [](const at::Tensor& pair) {
      const at::Tensor here = pair.to(at::kCPU);
      return Neighbours{.similarities = here[0], .scores = here[1]};
    };
    Neighbours nearest = neighbours_in(of_all.front());
    for (std::size_t i = 1; i < of_all.size(); ++i) nearest = merged(nearest, neighbours_in(of_all[i]), count);
    own.push_back(mean_score(nearest));
  });
  return own.empty() ? torch::zeros({0}, at::kDouble) : torch::cat(own);
}

data::SampleSet judged_pictures(const run::Context& context, const data::Corpus& corpus) {
  const bool on_test = context.config.analyze().probe_on_test();
  return data::SampleSet::of_split(corpus, on_test ? shards::Split::kTest : shards::Split::kValidation);
}

std::string reason_for_none(const run::Context& context, const data::SampleSet& training,
                            const data::SampleSet& judged) {
  if (context.config.analyze().label_fractions_size() == 0) return "analyze.label_fractions is empty";
  if (training.size() == 0) return "no source has labelled training pictures";
  if (judged.size() >= kFewestJudged) return "";
  return context.config.analyze().probe_on_test()
             ? fmt::format("the test split has {} pictures", judged.size())
             : fmt::format(
                   "the validation split has {} pictures: set validation_share of a rated source and pack it "
                   "again, or analyze.probe_on_test where no choice depends on the figures",
                   judged.size());
}

}  // namespace

ProbeSet::ProbeSet(const run::Context& context, const batches::CheckedCorpus& corpus)
    : corpus_(corpus), judged_(judged_pictures(context, corpus.corpus())) {
  const std::vector<double> fractions = fractions_of(context.config);
  if (!fractions.empty()) {
    training_ = data::training_sets(corpus.corpus(), fractions.front(), context.config.run().seed()).labelled;
  }
  reason_ = reason_for_none(context, training_, judged_);
  if (!reason_.empty()) return;
  try {
    bin_centres_ = batches::bin_centres(corpus.corpus());
  } catch (const runtime::UsageError& error) {
    reason_ = error.what();
  }
}

at::Tensor ProbeSet::scores(const data::SampleSet& set, const std::vector<std::uint64_t>& numbers) const {
  std::vector<double> scores;
  for (const std::uint64_t number : numbers) {
    const data::SampleRef sample = set.at(number);
    const auto shard = corpus_.corpus().shard(sample.shard);
    const std::span<const float> histogram = shard->histogram(sample.row);
    const double total = std::accumulate(histogram.begin(), histogram.end(), 0.0);
    scores.push_back(std::inner_product(histogram.begin(), histogram.end(), bin_centres_.begin(), 0.0) / total);
  }
  return torch::tensor(scores, at::kDouble);
}

std::vector<ProbeFigures> probe(const ProbeSet& set, const FeatureRows& training, const FeatureRows& judged,
                                const run::Context& context, const batches::CheckedCorpus& corpus) {
  const config::Config& config = context.config;
  distributed::Communicator& communicator = context.communicator;
  const auto folds = static_cast<std::int64_t>(config.analyze().folds());
  const at::Tensor training_scores = set.scores(set.training(), training.numbers);
  const at::Tensor judged_scores = set.scores(set.judged(), judged.numbers);
  std::vector<ProbeFigures> all;
  for (const double fraction : fractions_of(config)) {
    const data::SampleSet share = data::training_sets(corpus.corpus(), fraction, config.run().seed()).labelled;
    const Numbers numbers(share);
    std::vector<std::int64_t> rows;
    KnownLabels known;
    for (std::size_t row = 0; row < training.numbers.size(); ++row) {
      const std::int64_t number = numbers.of(set.training().at(training.numbers[row]));
      if (number < 0) continue;
      rows.push_back(static_cast<std::int64_t>(row));
      known.fold.push_back(number % folds);
    }
    known.features = training.features.index_select(0, torch::tensor(rows, at::kLong));
    known.scores = training_scores.index_select(0, torch::tensor(rows, at::kLong));
    ProbeFigures figures{.fraction = fraction, .labels = count_of_all(known.features.size(0), communicator)};
    // Two pictures in each fold.
    if (figures.labels < static_cast<std::uint64_t>(2 * folds)) {
      figures.reason = fmt::format("too few labels for {} folds ({})", folds, figures.labels);
      all.push_back(figures);
      continue;
    }
    const optim::ChosenRidge ridge = fit(known, folds, communicator);
    figures.alpha = ridge.alpha;
    figures.neighbours = std::min<std::uint64_t>(config.analyze().neighbours(), figures.labels);
    const at::Tensor nearest =
        neighbour_scores(known, judged.features, static_cast<std::int64_t>(figures.neighbours), communicator);
    const Judged linear =
        gathered(ridge.function(judged.features), judged_scores, judged, set.judged().size(), communicator);
    const Judged neighbours = gathered(nearest, judged_scores, judged, set.judged().size(), communicator);
    const auto resamples = static_cast<int>(config.evaluate().resamples());
    figures.linear_srcc = srcc_with_interval(linear.predicted, linear.rated, resamples, config.run().seed());
    figures.linear_plcc = metrics::pearson(linear.predicted, linear.rated);
    figures.neighbour_srcc = srcc_with_interval(neighbours.predicted, neighbours.rated, resamples, config.run().seed());
    all.push_back(figures);
  }
  return all;
}

metrics::Estimate srcc_with_interval(const std::vector<double>& predicted, const std::vector<double>& rated,
                                     int resamples, std::uint64_t seed) {
  const auto n = predicted.size();
  std::vector<double> resampled;
  std::vector<double> some_predicted(n);
  std::vector<double> some_rated(n);
  for (int resample = 0; resample < resamples; ++resample) {
    runtime::Philox random(seed, data::kStreamProbeResamples, static_cast<std::uint64_t>(resample));
    for (std::size_t i = 0; i < n; ++i) {
      const std::uint32_t row = random.below(static_cast<std::uint32_t>(n));
      some_predicted[i] = predicted[row];
      some_rated[i] = rated[row];
    }
    resampled.push_back(metrics::spearman(some_predicted, some_rated));
  }
  return metrics::percentile_interval(metrics::spearman(predicted, rated), std::move(resampled));
}

}  // namespace cskd::analysis

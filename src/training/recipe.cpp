#include "training/recipe.h"

#include <bit>

#include <fmt/format.h>

#include "runtime/error.h"
#include "runtime/philox.h"

namespace cskd::training {
namespace {

optim::Algorithm algorithm_of(config::Training::Optimizer optimizer) {
  switch (optimizer) {
    case config::Training::sgd:
      return optim::Algorithm::kSgd;
    case config::Training::lamb:
      return optim::Algorithm::kLamb;
    case config::Training::lars:
      return optim::Algorithm::kLars;
    default:
      return optim::Algorithm::kAdamW;
  }
}

optim::RateScaling scaling_of(config::Training::RateScaling scaling) {
  switch (scaling) {
    case config::Training::linear:
      return optim::RateScaling::kLinear;
    case config::Training::square_root:
      return optim::RateScaling::kSquareRoot;
    default:
      return optim::RateScaling::kNone;
  }
}

optim::Schedule::Kind kind_of(config::Training::Schedule schedule) {
  switch (schedule) {
    case config::Training::constant:
      return optim::Schedule::Kind::kConstant;
    case config::Training::falling:
      return optim::Schedule::Kind::kFalling;
    default:
      return optim::Schedule::Kind::kCosine;
  }
}

// Correlations and shares of right answers; the other figures are distances.
bool highest_is_best(const std::string& figure) {
  return figure.ends_with("srcc") || figure.ends_with("plcc") || figure.ends_with("krcc") ||
         figure.ends_with("accuracy");
}

}  // namespace

std::unique_ptr<optim::Optimizer> make_optimizer(const config::Training& training, TrainedModel& model) {
  return optim::make_optimizer(
      model.trainable(),
      {.algorithm = algorithm_of(training.optimizer()),
       .momentum = training.momentum(),
       .beta2 = training.beta2(),
       .weight_decay = training.weight_decay(),
       .rate = [&model](const std::string& name) { return model.rate(name); },
       .decays = [&model](const std::string& name, const at::Tensor& tensor) { return model.decays(name, tensor); }});
}

optim::Schedule make_schedule(const config::Training& training) {
  return {.peak = optim::scaled_rate(training.learning_rate(), scaling_of(training.rate_scaling()),
                                     training.global_batch(), training.reference_batch()),
          .final_share = training.final_rate(),
          .warmup = training.warmup_steps(),
          .steps = training.steps(),
          .kind = kind_of(training.schedule()),
          .falls = {training.falls().begin(), training.falls().end()}};
}

bool is_elastic(const config::Training& training) { return training.determinism() == config::Training::elastic; }

data::BatchLayout require_layout(const std::string& table, const config::Training& training, int rank, int ranks) {
  const data::BatchLayout layout =
      data::make_batch_layout(table.c_str(), training.global_batch(), training.micro_batches(), rank, ranks);
  if (is_elastic(training) && !std::has_single_bit(static_cast<unsigned>(ranks))) {
    throw runtime::UsageError(
        fmt::format("{}.determinism is elastic, which needs 1, 2, 4, 8, ... ranks, not {}", table, ranks));
  }
  if (is_elastic(training) && training.compress_gradients())
    throw runtime::UsageError(fmt::format("{}.compress_gradients does not go with determinism = \"elastic\"", table));
  return layout;
}

std::uint64_t micro_batch_seed(std::uint64_t seed, const data::BatchLayout& layout, std::uint64_t step,
                               std::uint64_t number) {
  return runtime::Philox(seed, data::kStreamModel, step * layout.micro_batches + number).bits64();
}

void require_judge(const std::string& table, const config::Training& training) {
  if (training.keep_best() > 0 && training.validate_every() == 0) {
    throw runtime::UsageError(
        fmt::format("{0}.keep_best needs a validation to compare by: set {0}.validate_every", table));
  }
}

Retention make_retention(const config::Training& training, const Task& task) {
  require_judge(task.name + ".training", training);
  const std::string best_by = training.best_by().empty() ? task.validation.main_figure : training.best_by();
  return {.newest = training.keep_checkpoints(),
          .every = training.keep_every(),
          .best = training.keep_best(),
          .best_by = best_by,
          .highest_is_best = highest_is_best(best_by)};
}

}  // namespace cskd::training

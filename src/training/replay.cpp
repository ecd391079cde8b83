#include "training/replay.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/GradMode.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <torch/utils.h>

#include "data/sampler.h"
#include "runtime/check.h"
#include "runtime/error.h"
#include "runtime/failure_point.h"
#include "training/recipe.h"
#include "training/resume.h"
#include "training/step_agreement.h"

namespace cskd::training {
namespace {

constexpr double kClose = 1e-3;  // relative; of sums of millions of numbers on another processor

double number_of(const std::string& text) { return std::stod(text); }

// The same bits, by their text: NaN is NaN, whatever its payload.
bool is_same(const std::string& then, const std::string& now) { return then == now; }

bool is_close(const std::string& then, const std::string& now) {
  const double before = number_of(then);
  const double after = number_of(now);
  if (!std::isfinite(before) || !std::isfinite(after)) return then == now;
  return std::abs(before - after) <= kClose * std::max({std::abs(before), std::abs(after), 1e-6});
}

class Replay {
 public:
  Replay(const Task& task, const TrainerOptions& options, const ReplayJob& job, runtime::World& world,
         distributed::Communicator& communicator)
      : task_(task),
        options_(options),
        capsule_(job.capsule),
        layout_(data::make_batch_layout((task.name + ".training").c_str(), options.training.global_batch(),
                                        options.training.micro_batches(), 0, 1)),
        agreement_(task.model.statistics(), communicator, layout_.own(), layout_.micro_batches, false),
        optimizer_(make_optimizer(options.training, task.model)) {
    CSKD_CHECK(world.size() == 1, "a step is replayed by {} ranks", world.size());
    const auto state = resume(checkpoints_of_capsule(job.folder), options, task, *optimizer_, world);
    if (!state || state->step() + 1 != capsule_.step || capsule_.micro_batches.size() != layout_.micro_batches) {
      throw runtime::DataError(fmt::format("{} does not hold the moment before step {} of {} micro-batches",
                                           job.folder.native(), capsule_.step, layout_.micro_batches));
    }
  }

  ReplayReport run() {
    at::set_num_threads(capsule_.threads);
    agreement_.start_step();
    task_.objective.start(capsule_.step - 1);
    for (std::uint64_t number = 0; number < layout_.micro_batches; ++number)
      report_.micro_batches.push_back(compute(number));
    judge();
    return std::move(report_);
  }

 private:
  ReplayedMicroBatch compute(std::uint64_t number) {
    ReplayedMicroBatch part{.then = capsule_.micro_batches[number]};
    torch::manual_seed(micro_batch_seed(options_.seed, layout_, capsule_.step - 1, number));
    agreement_.start_micro_batch();
    MicroBatchResult result = task_.objective.micro_batch(capsule_.step - 1, number);
    const at::Tensor loss = result.loss / static_cast<double>(layout_.micro_batches);
    result.loss = result.loss.detach();
    if (runtime::is_spoilt("trainer.loss", task_.name)) result.loss.fill_(std::numeric_limits<float>::quiet_NaN());
    agreement_.finish_forward({.loss = result.loss, .figures = result.figures, .images = result.images, .damaged = 0});
    loss.backward();
    part.loss = exact_text(result.loss.item<float>());
    for (const auto& [name, figure] : result.figures) part.figures.emplace_back(name, exact_text(figure.item<float>()));
    part.gradient_is_finite = gradient_is_finite();
    part.is_same = is_same(part.then.loss, part.loss) && part.then.figures == part.figures;
    part.is_close = is_close(part.then.loss, part.loss);
    for (std::size_t i = 0; i < std::min(part.figures.size(), part.then.figures.size()); ++i)
      part.is_close = part.is_close && is_close(part.then.figures[i].second, part.figures[i].second);
    part.is_sound = std::isfinite(number_of(part.loss)) && part.gradient_is_finite;
    return part;
  }

  // And forgets it.
  bool gradient_is_finite() {
    const c10::NoGradGuard no_gradients;
    bool is_finite = true;
    for (const auto& [name, parameter] : task_.model.trainable()) {
      at::Tensor& gradient = parameter.mutable_grad();
      if (!gradient.defined()) continue;
      is_finite = is_finite && std::isfinite(gradient.sum(at::kDouble).item<double>());
      gradient = at::Tensor();
    }
    return is_finite;
  }

  // "head.weight, whose largest number is 3.2e+19"
  std::string largest_weight() const {
    std::string largest;
    double value = -1;
    for (const auto& [name, tensor] : task_.model.trainable()) {
      const double most = tensor.detach().abs().max().item<double>();
      if (std::isfinite(most) && most <= value) continue;
      value = std::isfinite(most) ? most : std::numeric_limits<double>::infinity();
      largest = name;
    }
    return fmt::format("{}, whose largest number is {:.3g}", largest, value);
  }

  void judge() {
    const auto count = [&](auto property) { return std::ranges::count_if(report_.micro_batches, property); };
    const auto all = static_cast<std::ptrdiff_t>(report_.micro_batches.size());
    const auto other = count([](const ReplayedMicroBatch& part) { return !part.is_close; });
    const auto same = count(&ReplayedMicroBatch::is_same);
    const auto unsound = all - count(&ReplayedMicroBatch::is_sound);
    if (other > 0) {
      std::string ranks;
      for (const ReplayedMicroBatch& part : report_.micro_batches) {
        if (part.is_close) continue;
        ranks += fmt::format("{}rank {} on {} had {} for micro-batch {}, here it is {}", ranks.empty() ? "" : "; ",
                             part.then.rank, capsule_.hosts[static_cast<std::size_t>(part.then.rank)], part.then.loss,
                             part.then.number, part.loss);
      }
      report_.blame = Blame::kMachine;
      report_.verdict = fmt::format(
          "The same pictures, weights and random numbers give something else here: {}. That points at the machine of "
          "then: "
          "its memory, processor or GPU. Test the host, and leave it out.",
          ranks);
      return;
    }
    const std::string repeated =
        same == all
            ? "It comes out the same here, to the last bit: the machine is not to blame."
            : "It comes out the same here but for rounding, as on another kind of processor: the machine is not to "
              "blame.";
    if (unsound > 0 && unsound < all) {
      std::string pictures;
      for (const ReplayedMicroBatch& part : report_.micro_batches) {
        if (part.is_sound) continue;
        pictures +=
            fmt::format("{}micro-batch {}: {}", pictures.empty() ? "" : "; ", part.then.number, part.then.pictures);
      }
      report_.blame = Blame::kData;
      report_.verdict = fmt::format(
          "{} Of {} micro-batches with the same weights, {} are not finite: their pictures, or what was stored for "
          "them, lead "
          "there. {}. Look at them with 'cskd inspect'{}.",
          repeated, all, unsound, pictures, precision_hint());
      return;
    }
    report_.blame = Blame::kWeights;
    report_.verdict = fmt::format(
        "{} All micro-batches are alike, so it is not single pictures but the weights that had come this far: {}. Go "
        "back to "
        "an earlier checkpoint with a lower {}.training.learning_rate, a longer warm-up or a lower clip_norm{}.",
        repeated, largest_weight(), task_.name, precision_hint());
  }

  std::string precision_hint() const {
    return capsule_.origin.settings.precision == models::Precision::kBf16 ? ", or with compute.precision = \"fp32\""
                                                                          : "";
  }

  const Task& task_;
  const TrainerOptions& options_;
  const Capsule& capsule_;
  data::BatchLayout layout_;
  StepAgreement agreement_;
  std::unique_ptr<optim::Optimizer> optimizer_;
  ReplayReport report_;
};

}  // namespace

const char* name_of(Blame blame) {
  switch (blame) {
    case Blame::kMachine:
      return "machine";
    case Blame::kData:
      return "data";
    case Blame::kWeights:
      break;
  }
  return "weights";
}

ReplayReport replay(const Task& task, const TrainerOptions& options, const ReplayJob& job, runtime::World& world,
                    distributed::Communicator& communicator) {
  return Replay(task, options, job, world, communicator).run();
}

}  // namespace cskd::training

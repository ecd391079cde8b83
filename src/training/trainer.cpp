#include "training/trainer.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <optional>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <spdlog/spdlog.h>
#include <torch/csrc/autograd/generated/variable_factories.h>
#include <torch/utils.h>

#include "data/sampler.h"
#include "distributed/gradient_reducer.h"
#include "distributed/same_everywhere.h"
#include "optim/weight_average.h"
#include "runtime/check.h"
#include "runtime/error.h"
#include "runtime/failure_point.h"
#include "runtime/stop_signal.h"
#include "training/checkpoint_writer.h"
#include "training/consistency.h"
#include "training/recipe.h"
#include "training/resume.h"
#include "training/step_agreement.h"
#include "training/step_trace.h"

namespace cskd::training {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

std::vector<at::Tensor> tensors_of(const NamedTensors& named) {
  std::vector<at::Tensor> tensors;
  for (const auto& [name, tensor] : named) tensors.push_back(tensor);
  return tensors;
}

// Whether something that comes every so many steps, if at all, comes now.
bool is_due(std::uint64_t step, std::uint64_t every) { return every > 0 && step % every == 0; }

class Training {
 public:
  Training(const Task& task, const TrainerOptions& options, runtime::World& world,
           distributed::Communicator& communicator, TrainingObserver& observer)
      : task_(task),
        options_(options),
        training_(options.training),
        world_(world),
        communicator_(communicator),
        observer_(observer),
        layout_(require_layout(task.name + ".training", options.training, world.rank(), world.size())),
        agreement_(task.model.statistics(), communicator, layout_.own(), layout_.micro_batches,
                   is_elastic(options.training)),
        reducer_(task.model.trainable(), communicator,
                 {.micro_batches = layout_.own(),
                  .elastic = is_elastic(options.training),
                  .compress = options.training.compress_gradients()}),
        optimizer_(make_optimizer(options.training, task.model)),
        schedule_(make_schedule(options.training)),
        average_(tensors_of(task.model.state()), tensors_of(task.model.average())),
        checkpoints_(options.folder / "checkpoints"),
        capsules_(options.folder, task.name, options.origin, layout_, world, communicator),
        trace_(options, world, communicator) {
    require_equal_models();
    for (const auto& [name, tensor] : task.model.state()) communicator.broadcast(tensor.detach(), 0, name);
    average_.reset();
  }

  TrainingOutcome run() {
    start();
    bool stop = false;
    while (state_.step() < training_.steps() && !stop) {
      runtime::failure_point("trainer.step", task_.name);
      trace_.before_step(state_.step());
      StepReport report = step(stop);
      communicator_.set_timeout(options_.step_timeout);
      const bool is_last = stop || state_.step() == training_.steps();
      if (is_due(state_.step(), training_.check_every())) check_consistency();
      if (is_due(state_.step(), training_.validate_every()) || (is_last && !stop && training_.validate_every() > 0))
        validate(report);
      tell(report);
      if (writer_) checkpoint_if_due(report, is_last);
      trace_.leave();
      if (trace_.ends_after(state_.step(), is_last)) {
        if (writer_) writer_->finish();
        trace_.write();
      }
    }
    trace_.enter("checkpoint");
    if (writer_) writer_->finish();
    trace_.leave();
    communicator_.set_timeout(options_.start_timeout);
    // No rank goes on, and uses the result, before it is on disk.
    world_.barrier();
    return {.finished = state_.step() == training_.steps(),
            .steps = state_.step(),
            .images = state_.images(),
            .seconds = state_.seconds(),
            .loss = state_.loss()};
  }

 private:
  // Before tensors are exchanged that might not fit each other.
  void require_equal_models() const {
    distributed::Facts facts(options_.inputs.values().begin(), options_.inputs.values().end());
    facts.emplace_back("seed", std::to_string(options_.seed));
    if (is_elastic(training_)) facts.emplace_back("compute.threads", std::to_string(at::get_num_threads()));
    for (const auto& [name, tensor] : task_.model.state())
      facts.emplace_back(name,
                         fmt::format("{} [{}]", at::toString(tensor.scalar_type()), fmt::join(tensor.sizes(), ", ")));
    distributed::require_same(world_, fmt::format("the training '{}'", task_.name), facts);
  }

  void start() {
    const Retention retention = make_retention(training_, task_);
    if (const auto resumed = resume(checkpoints_, options_, task_, *optimizer_, world_)) state_ = *resumed;
    task_.objective.start(state_.step());
    if (world_.rank() == 0) {
      std::filesystem::create_directories(checkpoints_);
      writer_.emplace(
          CheckpointWriter::Options{.folder = checkpoints_,
                                    .retention = retention,
                                    .goes_on = training_.when_full() == config::Training::go_on,
                                    .trace = options_.trace,
                                    .before_commit = [this] { observer_.flush(); },
                                    .written = [this](std::uint64_t step) { observer_.checkpointed(step); }});
      last_checkpoint_ = Clock::now();
      observer_.started(state_.step(), training_.steps());
    }
    trace_.begin(state_.step());
    check_consistency();
  }

  void check_consistency() {
    const auto start = Clock::now();
    trace_.enter("consistency check");
    pass_over_pace();
    NamedTensors all = task_.model.state();
    const auto add = [&](const char* what, const NamedTensors& tensors) {
      for (const auto& [name, tensor] : tensors) all.emplace_back(std::string(what) + name, tensor);
    };
    add("average of ", task_.model.average());
    add("optimiser's ", optimizer_->state());
    add("memory of ", task_.objective.memory());
    require_equal_tensors(all, communicator_, state_.step());
    longest_consistency_check_ = std::max(longest_consistency_check_, seconds_since(start));
  }

  void validate(StepReport& report) {
    const auto start = Clock::now();
    trace_.enter("validation");
    pass_over_pace();
    communicator_.set_timeout(options_.start_timeout);
    const auto figures = task_.validation.run();
    communicator_.set_timeout(options_.step_timeout);
    trace_.leave();
    longest_validation_ = std::max(longest_validation_, seconds_since(start));
    state_.set_validated(state_.step());
    state_.clear_validation();
    for (const auto& [name, value] : figures) (*state_.mutable_validation())[name] = value;
    report.validated = true;
    report.figures.insert(report.figures.end(), figures.begin(), figures.end());
  }

  void tell(const StepReport& report) {
    if (world_.rank() != 0) return;
    const auto start = Clock::now();
    if (is_due(report.step, options_.tensors_every))
      observer_.tensors(report.step, task_.model.trainable(), gradients());
    if (is_due(report.step, options_.pictures_every)) observer_.pictures(report.step, task_.objective.pictures());
    observer_.stepped(report);
    pace_.reports += seconds_since(start);
  }

  void pass_over_pace() {
    if (options_.pace != nullptr) options_.pace->pass_over();
  }

  NamedTensors gradients() {
    NamedTensors gradients;
    for (const auto& [name, parameter] : task_.model.trainable()) gradients.emplace_back(name, parameter.grad());
    return gradients;
  }

  // On rank 0.
  void checkpoint_if_due(const StepReport& report, bool is_last) {
    const double interval = training_.checkpoint_interval();
    const bool is_judged = report.validated && training_.keep_best() > 0;
    writer_->throw_if_failed();
    if (is_last || is_judged || is_due(report.step, training_.checkpoint_every()) ||
        is_due(report.step, training_.keep_every()) || (interval > 0 && seconds_since(last_checkpoint_) >= interval)) {
      trace_.enter("start of a checkpoint");
      const auto start = Clock::now();
      writer_->start(contents());
      stall(seconds_since(start));
      last_checkpoint_ = Clock::now();
    }
    // What has to fit between the sign to stop and the end: two steps with what may be due after them, and a checkpoint
    // behind one that is under way. How long one takes is not known before the first.
    const double write = writer_->longest_write();
    const double checkpoints = write > 0 ? 3 * write + 10 : 30;
    runtime::StopSignal::reserve(std::chrono::duration<double>(2 * report.seconds + longest_validation_ +
                                                               longest_consistency_check_ + checkpoints));
  }

  // One optimiser step; sets `stop` on every rank when a signal came to any.
  StepReport step(bool& stop) {
    const auto start = Clock::now();
    const std::uint64_t number = state_.step();
    trace_.enter("start of a step");
    reducer_.start_step();
    agreement_.start_step();
    std::vector<MicroBatchResult> results;
    for (std::uint64_t own = 0; own < layout_.own(); ++own) results.push_back(micro_batch(own));
    trace_.enter("waiting for buckets");
    const distributed::ReduceStatistics reduced = reducer_.finish_step();
    if (options_.pace != nullptr && world_.size() > 1) options_.pace->add(number, reduced, std::exchange(pace_, {}));
    trace_.enter("statistics and figures");
    if (!reduced.unused.empty() && number == 0) {
      spdlog::warn("{}: {} parameters got no gradient, the first is {}", task_.name, reduced.unused.size(),
                   reduced.unused.front());
    }
    const StepAgreement::Result result =
        agreement_.finish_step(runtime::StopSignal::received() != 0, reducer_.bucket_norms());
    stop = result.any_stops;
    const StepTotals& totals = result.totals;
    if (!totals.is_finite()) warn_of_what_is_not_finite(task_.name, state_.step() + 1, layout_, results);

    const double rate = optim::learning_rate(schedule_, number);
    trace_.enter("optimiser");
    const double norm = distributed::norm_of_buckets(result.bucket_norms);
    if (const auto reason = capsules_.reason(totals.loss, norm)) keep(*reason, results, totals.loss, norm);
    task_.objective.finish_step(apply(norm, totals.loss, rate));
    trace_.leave();
    trace_.step(number + 1, start, reduced);

    StepReport report = report_of(results, totals, reduced, seconds_since(start));
    report.figures.emplace_back("train/learning_rate", rate);
    report.figures.emplace_back("train/gradient_norm", norm);
    state_.set_step(report.step);
    state_.set_images(state_.images() + static_cast<std::uint64_t>(report.images));
    state_.set_seconds(state_.seconds() + report.seconds);
    state_.set_loss(totals.loss);
    report.kept_seconds = state_.seconds();
    return report;
  }

  // Forward and backward pass of one of this rank's.
  MicroBatchResult micro_batch(std::uint64_t own) {
    const std::uint64_t number = layout_.first() + own;
    torch::manual_seed(micro_batch_seed(options_.seed, layout_, state_.step(), number));
    agreement_.start_micro_batch();
    const auto start = Clock::now();
    trace_.enter("data and forward");
    MicroBatchResult result = task_.objective.micro_batch(state_.step(), own);
    trace_.waited_for_data(number, start, result.data_wait);
    pace_.data += result.data_wait;
    const at::Tensor loss = result.loss / static_cast<double>(layout_.micro_batches);
    trace_.enter("statistics and figures");
    result.loss = result.loss.detach();
    if (runtime::is_spoilt("trainer.loss", task_.name)) result.loss.fill_(std::numeric_limits<float>::quiet_NaN());
    const bool is_last = own + 1 == layout_.own();
    agreement_.finish_forward({.loss = result.loss,
                               .figures = result.figures,
                               .images = result.images,
                               .damaged = is_last ? result.damaged : 0});
    trace_.enter("backward");
    reducer_.start_micro_batch();
    loss.backward();
    return result;
  }

  StepReport report_of(const std::vector<MicroBatchResult>& results, const StepTotals& totals,
                       const distributed::ReduceStatistics& reduced, double seconds) {
    StepReport report{.step = state_.step() + 1,
                      .steps = training_.steps(),
                      .images = totals.images,
                      .seconds = seconds,
                      .skipped = state_.skipped()};
    double data_wait = 0;
    for (const MicroBatchResult& result : results) data_wait += result.data_wait;
    report.figures.emplace_back("train/loss", totals.loss);
    report.figures.insert(report.figures.end(), totals.figures.begin(), totals.figures.end());
    report.figures.emplace_back("data/damaged", static_cast<double>(totals.damaged));
    report.figures.emplace_back("perf/images_per_second", static_cast<double>(report.images) / seconds);
    report.figures.emplace_back("perf/data_wait", data_wait);
    report.figures.emplace_back("perf/exposed_communication", reduced.exposed_seconds);
    report.figures.emplace_back("perf/overlap", reduced.overlap());
    report.figures.emplace_back("perf/checkpoint_stall", std::exchange(checkpoint_stall_, 0));
    for (std::size_t i = 0; i < reduced.buckets.size() && world_.size() > 1; ++i) {
      report.figures.emplace_back(fmt::format("perf/bus_bandwidth/bucket_{}", i + 1),
                                  reduced.buckets[i].bus_bandwidth(world_.size()) / 1e9);
    }
    return report;
  }

  void keep(const std::string& reason, const std::vector<MicroBatchResult>& results, double loss, double norm) {
    pass_over_pace();
    communicator_.set_timeout(options_.start_timeout);
    agreement_.before_step(
        [&] { capsules_.keep(reason, state_.step() + 1, loss, norm, results, [this] { return contents(); }); });
  }

  // Changes the weights, or leaves no trace of the step and returns false; the same decision on every rank, since norm
  // and loss are sums over all.
  bool apply(double norm, double loss, double rate) {
    if (!std::isfinite(norm) || !std::isfinite(loss)) {
      agreement_.undo_step();
      state_.set_skipped(state_.skipped() + 1);
      ++skipped_in_a_row_;
      spdlog::warn("{}: step {} is skipped: its loss is {}, its gradient norm {}", task_.name, state_.step() + 1, loss,
                   norm);
      if (skipped_in_a_row_ > kMostSkipped) {
        throw runtime::Error(
            fmt::format("{}: {} steps in a row had no finite gradient; lower {}.training.learning_rate", task_.name,
                        skipped_in_a_row_, task_.name));
      }
      return false;
    }
    skipped_in_a_row_ = 0;
    if (writer_) {
      const auto start = Clock::now();
      writer_->wait_until_copied();
      stall(seconds_since(start));
    }
    if (norm > training_.clip_norm()) reducer_.scale(training_.clip_norm() / norm);
    optimizer_->step(rate);
    average_.update(optim::average_decay(training_.ema_decay(), state_.step()));
    return true;
  }

  void stall(double seconds) {
    checkpoint_stall_ += seconds;
    pace_.checkpoint += seconds;
  }

  CheckpointContents contents() {
    CheckpointContents contents{task_.model.state(), task_.model.average(), optimizer_->state(), state_,
                                task_.model.metadata()};
    for (auto& named : stored_memory(task_.objective)) contents.optimizer.push_back(std::move(named));
    // Statistics change during the next forward pass already: Note [Asynchronous checkpoints].
    std::set<std::string> changing;
    for (const auto& [name, tensor] : task_.model.statistics()) changing.insert(name);
    for (auto& [name, tensor] : contents.model) {
      if (changing.contains(name)) tensor = tensor.detach().clone();
    }
    const auto& inputs = options_.inputs.values();
    contents.state.mutable_inputs()->clear();
    contents.state.mutable_inputs()->insert(inputs.begin(), inputs.end());
    contents.state.clear_buckets();
    for (const std::vector<std::string>& names : reducer_.layout()) {
      State::Bucket& bucket = *contents.state.add_buckets();
      for (const std::string& name : names) bucket.add_parameters(name);
    }
    return contents;
  }

  const Task& task_;
  const TrainerOptions& options_;
  const config::Training& training_;
  runtime::World& world_;
  distributed::Communicator& communicator_;
  TrainingObserver& observer_;
  data::BatchLayout layout_;
  StepAgreement agreement_;  // first: it gives statistics other memory
  distributed::GradientReducer reducer_;
  std::unique_ptr<optim::Optimizer> optimizer_;
  optim::Schedule schedule_;
  optim::WeightAverage average_;
  std::filesystem::path checkpoints_;
  CapsuleKeeper capsules_;
  StepTrace trace_;
  State state_;
  int skipped_in_a_row_ = 0;
  double longest_validation_ = 0;  // seconds; so the next one
  double longest_consistency_check_ = 0;
  Clock::time_point last_checkpoint_;
  double checkpoint_stall_ = 0;             // seconds, since the last report
  distributed::StepParts pace_;             // since the last step's buckets
  std::optional<CheckpointWriter> writer_;  // on rank 0; last: its thread uses the rest
};

}  // namespace

TrainingOutcome train(const Task& task, const TrainerOptions& options, runtime::World& world,
                      distributed::Communicator& communicator, TrainingObserver& observer) {
  return Training(task, options, world, communicator, observer).run();
}

}  // namespace cskd::training

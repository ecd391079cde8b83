#include "training/trainer.h"

#include <bit>
#include <chrono>
#include <cmath>
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
#include "optim/adamw.h"
#include "optim/schedule.h"
#include "optim/weight_average.h"
#include "runtime/atomic_file.h"
#include "runtime/check.h"
#include "runtime/error.h"
#include "runtime/failure_point.h"
#include "runtime/philox.h"
#include "runtime/stop_signal.h"
#include "training/checkpoint.h"
#include "training/consistency.h"
#include "training/step_agreement.h"

namespace cskd::training {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

std::vector<at::Tensor> tensors_of(const NamedTensors& named) {
  std::vector<at::Tensor> tensors;
  for (const auto& [name, tensor] : named) tensors.push_back(tensor);
  return tensors;
}

std::string shape_text(const at::Tensor& tensor) { return fmt::format("[{}]", fmt::join(tensor.sizes(), ", ")); }

void restore(const NamedTensors& live, const std::map<std::string, at::Tensor>& stored, const char* file) {
  const c10::AutoGradMode no_gradients(false);
  for (const auto& [name, tensor] : live) {
    const auto found = stored.find(name);
    if (found == stored.end() || found->second.sizes() != tensor.sizes()) {
      throw runtime::DataError(fmt::format("{} of the checkpoint has no tensor '{}' of the model's shape", file, name));
    }
    tensor.detach().copy_(found->second);
  }
}

bool is_elastic(const config::Training& training) { return training.determinism() == config::Training::elastic; }

// Throws UsageError, with the remedy, when the training cannot be shared out as its configuration says.
data::BatchLayout make_layout(const std::string& table, const config::Training& training, const runtime::World& world) {
  const data::BatchLayout layout = data::make_batch_layout(table.c_str(), training.global_batch(),
                                                           training.micro_batches(), world.rank(), world.size());
  if (is_elastic(training) && !std::has_single_bit(static_cast<unsigned>(world.size()))) {
    throw runtime::UsageError(
        fmt::format("{}.determinism is elastic, which needs 1, 2, 4, 8, ... ranks, not {}", table, world.size()));
  }
  if (is_elastic(training) && training.compress_gradients()) {
    throw runtime::UsageError(fmt::format("{}.compress_gradients does not go with determinism = \"elastic\"", table));
  }
  return layout;
}

constexpr const char* kComputeTrack = "computing";

// What the training does at the moment, for the journal and the trace.
class Phases {
 public:
  Phases(distributed::Journal& journal, runtime::Trace* trace) : journal_(journal), trace_(trace) {}

  void enter(const char* phase) {
    leave();
    journal_.enter(phase);
    phase_ = phase;
    since_ = Clock::now();
  }
  void leave() {
    if (phase_ != nullptr && trace_ != nullptr) trace_->add(kComputeTrack, phase_, since_, Clock::now());
    phase_ = nullptr;
  }

 private:
  distributed::Journal& journal_;
  runtime::Trace* trace_;
  const char* phase_ = nullptr;
  Clock::time_point since_;
};

class Training {
 public:
  Training(Stage& stage, const TrainerOptions& options, runtime::World& world, distributed::Communicator& communicator)
      : stage_(stage),
        options_(options),
        world_(world),
        communicator_(communicator),
        layout_(make_layout(stage.name() + ".training", options.training, world)),
        reducer_(stage.trainable(), communicator,
                 {.micro_batches = layout_.own(),
                  .elastic = is_elastic(options.training),
                  .compress = options.training.compress_gradients()}),
        optimiser_(stage.trainable(), {.weight_decay = options.training.weight_decay(),
                                       .rate = [&stage](const std::string& name) { return stage.rate(name); }}),
        average_(tensors_of(stage.state()), tensors_of(stage.average())),
        agreement_(stage.state(), stage.trainable(), communicator, layout_.own(), layout_.micro_batches,
                   is_elastic(options.training)),
        checkpoints_(options.folder / "checkpoints"),
        phases_(communicator.journal(), options.trace) {
    require_equal_models();
    for (const auto& [name, tensor] : stage.state()) communicator.broadcast(tensor.detach(), 0, name);
    average_.reset();
  }

  TrainingOutcome run(TrainingObserver& observer) {
    const std::uint64_t steps = options_.training.steps();
    resume();
    TrainingOutcome outcome;
    stage_.start(state_.step());
    std::optional<CheckpointWriter> writer;
    if (world_.rank() == 0) {
      std::filesystem::create_directories(checkpoints_);
      writer.emplace(checkpoints_, options_.training.keep_checkpoints(), options_.trace);
      observer.started(state_.step(), steps);
    }
    bool stop = false;
    check_consistency();
    const std::uint64_t first_traced = state_.step() + options_.trace_after;
    const std::uint64_t end_traced = options_.trace == nullptr ? 0 : first_traced + options_.trace_steps;
    while (state_.step() < steps && !stop) {
      runtime::failure_point("trainer.step", stage_.name());
      if (end_traced > 0 && state_.step() == first_traced) start_trace();
      StepReport report = step(stop);
      communicator_.set_timeout(options_.step_timeout);
      const std::uint64_t every = options_.training.check_every();
      if (every > 0 && state_.step() % every == 0) check_consistency();
      outcome.loss = report.figures.front().second;
      if (world_.rank() == 0) observer.stepped(report);
      const bool due = state_.step() % options_.training.checkpoint_every() == 0;
      if (writer && (due || stop || state_.step() == steps)) {
        phases_.enter("copy of the checkpoint");
        writer->start(contents());
      }
      phases_.leave();
      if (options_.trace != nullptr && options_.trace->is_on() &&
          (state_.step() == end_traced || state_.step() == steps || stop)) {
        if (writer) writer->finish();
        write_trace();
      }
    }
    phases_.enter("checkpoint");
    if (writer) writer->finish();
    phases_.leave();
    communicator_.set_timeout(options_.start_timeout);
    outcome.finished = state_.step() == steps;
    outcome.steps = state_.step();
    outcome.images = state_.images();
    outcome.seconds = state_.seconds();
    // No rank goes on, and uses the result, before it is on disk.
    world_.barrier();
    return outcome;
  }

 private:
  // Before tensors are exchanged that might not fit each other.
  void require_equal_models() const {
    distributed::Facts facts{{"seed", std::to_string(options_.seed)}, {"inputs", options_.inputs.hex()}};
    if (is_elastic(options_.training)) facts.emplace_back("compute.threads", std::to_string(at::get_num_threads()));
    for (const auto& [name, tensor] : stage_.state())
      facts.emplace_back(name, fmt::format("{} {}", at::toString(tensor.scalar_type()), shape_text(tensor)));
    distributed::require_same(world_, fmt::format("the training '{}'", stage_.name()), facts);
  }

  // All ranks begin together, so that their clocks can be laid over each other.
  void start_trace() {
    phases_.enter("trace");
    communicator_.barrier();
    phases_.leave();
    options_.trace->start(Clock::now());
  }

  void write_trace() {
    options_.trace->stop();
    const std::string events =
        options_.trace->take_events(world_.rank(), fmt::format("rank {} on {}", world_.rank(), world_.host()));
    const std::vector<std::string> all = world_.all_gather(world_.rank() < kMostTracedRanks ? events : "");
    if (world_.rank() != 0) return;
    const std::filesystem::path path = options_.folder / "trace.json";
    runtime::write_file_atomically(path, runtime::trace_file(all));
    spdlog::info("the course of {} steps is in {}: open it at https://ui.perfetto.dev", options_.trace_steps,
                 path.native());
  }

  // Of a step that is done.
  void trace_step(std::uint64_t number, Clock::time_point start, const distributed::ReduceStatistics& reduced) {
    runtime::Trace* const trace = options_.trace;
    if (trace == nullptr || !trace->is_on()) return;
    trace->add(kComputeTrack, fmt::format("step {}", number), start, Clock::now());
    for (const distributed::BucketTiming& bucket : reduced.buckets) {
      trace->add("communication", bucket.label.substr(0, bucket.label.find(':')), bucket.started, bucket.ended,
                 {{"parameters", bucket.label},
                  {"MiB", fmt::format("{:.2f}", static_cast<double>(bucket.bytes) / (1 << 20))},
                  {"bus GB/s", fmt::format("{:.2f}", bucket.bus_bandwidth(world_.size()) / 1e9)},
                  {"ms from ready to started",
                   fmt::format("{:.3f}", 1e3 * std::chrono::duration<double>(bucket.started - bucket.ready).count())}});
    }
  }

  void check_consistency() {
    phases_.enter("consistency check");
    NamedTensors all = stage_.state();
    const auto add = [&](const char* what, const NamedTensors& tensors) {
      for (const auto& [name, tensor] : tensors) all.emplace_back(std::string(what) + name, tensor);
    };
    add("average of ", stage_.average());
    add("optimiser's ", optimiser_.state());
    require_equal_tensors(all, communicator_, state_.step());
  }

  void resume() {
    std::string found;
    if (world_.rank() == 0) {
      const std::optional<std::uint64_t> newest = newest_checkpoint(checkpoints_);
      if (newest && !options_.resume) {
        throw runtime::UsageError(
            fmt::format("{} holds checkpoints of an earlier run: resume it (--resume auto), or remove the folder",
                        checkpoints_.native()));
      }
      remove_unfinished_checkpoints(checkpoints_);
      if (newest) found = std::to_string(*newest);
    }
    found = world_.broadcast(found);
    if (found.empty()) return;
    LoadedCheckpoint loaded = read_checkpoint(checkpoints_, std::stoull(found));
    const std::string inputs(options_.inputs.bytes.begin(), options_.inputs.bytes.end());
    if (loaded.state.inputs() != inputs || loaded.state.seed() != options_.seed) {
      throw runtime::UsageError(
          fmt::format("{} was made with another configuration, seed or data: restore it, choose another run.folder, or "
                      "remove the folder",
                      checkpoints_.native()));
    }
    restore(stage_.state(), loaded.model, "model.safetensors");
    restore(stage_.average(), loaded.average, "ema.safetensors");
    restore(optimiser_.state(), loaded.optimizer, "optimizer.safetensors");
    state_ = loaded.state;
    if (world_.rank() == 0) spdlog::info("{} goes on after step {}", stage_.name(), state_.step());
  }

  // One optimiser step; sets `stop` on every rank when a signal came to any.
  StepReport step(bool& stop) {
    const auto start = Clock::now();
    const std::uint64_t number = state_.step();
    const double micro_batches = static_cast<double>(layout_.micro_batches);
    reducer_.start_step();
    agreement_.start_step();
    std::vector<std::string> names;
    double data_wait = 0;
    std::int64_t images = 0;
    std::uint64_t damaged = 0;
    for (std::uint64_t own = 0; own < layout_.own(); ++own) {
      // Dropout and the like depend on the micro-batch alone.
      torch::manual_seed(
          runtime::Philox(options_.seed, data::kStreamModel, number * layout_.micro_batches + layout_.first() + own)
              .bits64());
      agreement_.start_micro_batch();
      const auto micro_batch_start = Clock::now();
      phases_.enter("data and forward");
      MicroBatchResult result = stage_.micro_batch(number, own);
      if (options_.trace != nullptr) {
        options_.trace->add("waiting for data", fmt::format("micro-batch {}", layout_.first() + own), micro_batch_start,
                            micro_batch_start + std::chrono::duration_cast<Clock::duration>(
                                                    std::chrono::duration<double>(result.data_wait)));
      }
      phases_.enter("backward");
      reducer_.start_micro_batch();
      (result.loss / micro_batches).backward();
      if (names.empty()) {
        names.emplace_back("train/loss");
        for (const auto& figure : result.figures) names.push_back(figure.first);
      }
      std::vector<double> figures{result.loss.item<double>() / micro_batches};
      for (const auto& figure : result.figures) figures.push_back(figure.second.item<double>() / micro_batches);
      for (const double figure : figures) {
        if (std::isfinite(figure)) continue;
        spdlog::warn("{}: step {}, micro-batch {} on rank {} is not finite: {}", stage_.name(), number + 1,
                     layout_.first() + own, world_.rank(), stage_.batch_text());
        break;
      }
      agreement_.finish_micro_batch(figures);
      images += result.images;
      data_wait += result.data_wait;
      damaged = result.damaged;
    }
    phases_.enter("waiting for buckets");
    const distributed::ReduceStatistics reduced = reducer_.finish_step();
    phases_.enter("statistics and figures");
    if (!reduced.unused.empty() && number == 0) {
      spdlog::warn("{}: {} parameters got no gradient, the first is {}", stage_.name(), reduced.unused.size(),
                   reduced.unused.front());
    }
    const double norm = reducer_.gradient_norm();
    std::vector<double> sums = agreement_.finish_step(
        {static_cast<double>(damaged), static_cast<double>(images), runtime::StopSignal::received() != 0 ? 1.0 : 0.0});
    stop = sums.back() > 0;
    images = std::llround(sums[sums.size() - 2]);
    const double damaged_everywhere = sums[sums.size() - 3];
    sums.resize(names.size());

    const optim::Schedule schedule{options_.training.learning_rate(), options_.training.final_rate(),
                                   options_.training.warmup_steps(), options_.training.steps()};
    const double rate = optim::learning_rate(schedule, number);
    phases_.enter("optimiser");
    apply(norm, sums[0], rate);
    phases_.leave();
    trace_step(number + 1, start, reduced);

    const double seconds = seconds_since(start);
    state_.set_step(number + 1);
    state_.set_images(state_.images() + static_cast<std::uint64_t>(images));
    state_.set_seconds(state_.seconds() + seconds);
    StepReport report{.step = number + 1, .steps = options_.training.steps(), .images = images, .seconds = seconds};
    for (size_t i = 0; i < names.size(); ++i) report.figures.emplace_back(names[i], sums[i]);
    report.figures.emplace_back("train/learning_rate", rate);
    report.figures.emplace_back("train/gradient_norm", norm);
    report.figures.emplace_back("perf/images_per_second", static_cast<double>(images) / seconds);
    report.figures.emplace_back("perf/data_wait", data_wait);
    report.figures.emplace_back("data/damaged", damaged_everywhere);
    report.figures.emplace_back("perf/exposed_communication", reduced.exposed_seconds);
    report.figures.emplace_back("perf/overlap", reduced.overlap());
    for (std::size_t i = 0; i < reduced.buckets.size() && world_.size() > 1; ++i) {
      report.figures.emplace_back(fmt::format("perf/bus_bandwidth/bucket_{}", i + 1),
                                  reduced.buckets[i].bus_bandwidth(world_.size()) / 1e9);
    }
    return report;
  }

  // Changes the weights; the same decision on every rank, since norm and loss are sums over all.
  void apply(double norm, double loss, double rate) {
    if (!std::isfinite(norm) || !std::isfinite(loss)) {
      state_.set_skipped(state_.skipped() + 1);
      ++skipped_in_a_row_;
      spdlog::warn("{}: step {} is left out: its loss is {}, its gradient norm {}", stage_.name(), state_.step() + 1,
                   loss, norm);
      if (skipped_in_a_row_ > kMostSkipped) {
        throw runtime::Error(
            fmt::format("{}: {} steps in a row had no finite gradient; lower {}.training.learning_rate", stage_.name(),
                        skipped_in_a_row_, stage_.name()));
      }
      return;
    }
    skipped_in_a_row_ = 0;
    if (norm > options_.training.clip_norm()) reducer_.scale(options_.training.clip_norm() / norm);
    optimiser_.step(rate);
    average_.update(optim::average_decay(options_.training.ema_decay(), state_.step()));
  }

  CheckpointContents contents() {
    CheckpointContents contents{stage_.state(), stage_.average(), optimiser_.state(), state_, stage_.metadata()};
    contents.state.set_seed(options_.seed);
    contents.state.set_inputs(options_.inputs.bytes.data(), options_.inputs.bytes.size());
    contents.state.clear_buckets();
    for (const std::vector<std::string>& names : reducer_.layout()) {
      State::Bucket& bucket = *contents.state.add_buckets();
      for (const std::string& name : names) bucket.add_parameters(name);
    }
    return contents;
  }

  Stage& stage_;
  const TrainerOptions& options_;
  runtime::World& world_;
  distributed::Communicator& communicator_;
  data::BatchLayout layout_;
  distributed::GradientReducer reducer_;
  optim::AdamW optimiser_;
  optim::WeightAverage average_;
  StepAgreement agreement_;
  std::filesystem::path checkpoints_;
  State state_;
  int skipped_in_a_row_ = 0;
  Phases phases_;
};

}  // namespace

TrainingOutcome train(Stage& stage, const TrainerOptions& options, runtime::World& world,
                      distributed::Communicator& communicator, TrainingObserver& observer) {
  return Training(stage, options, world, communicator).run(observer);
}

}  // namespace cskd::training

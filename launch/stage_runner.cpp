#include "launch/stage_runner.h"

#include <chrono>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <sstream>

#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>
#include <spdlog/spdlog.h>

#include "config/toml_writer.h"
#include "distributed/same_everywhere.h"
#include "doctor/rank_facts.h"
#include "doctor/versions.h"
#include "launch/results_file.h"
#include "launch/shared_folder.h"
#include "launch/thread_waiting.h"
#include "runtime/atomic_file.h"
#include "runtime/content_hash.h"
#include "runtime/cores.h"
#include "runtime/error.h"
#include "runtime/failure_point.h"
#include "runtime/freed_memory.h"
#include "runtime/input_file.h"
#include "runtime/work_queue.h"
#include "stages/align.h"
#include "stages/cache.h"
#include "stages/evaluate.h"
#include "stages/feasibility.h"
#include "stages/inputs.h"
#include "stages/score.h"
#include "stages/shard.h"

namespace cskd::launch {
namespace {

using Action = std::function<stages::StageOutcome(const stages::Context&)>;

const std::map<std::string, Action>& actions() {
  static const std::map<std::string, Action> table{
      {"shard", stages::run_shard},
      {"cache", stages::run_cache},
      {"align", stages::run_align},
      {stages::kTeacher, stages::run_finetune},
      {stages::kBaseline, stages::run_baseline},
      {stages::kStudent, stages::run_distill},
  };
  return table;
}

// What people call the models, by the stage that trains them.
std::string model_name(const std::string& stage) {
  if (stage == stages::kStudent) return "student";
  return stage == stages::kBaseline ? "supervised" : "teacher";
}

// This rank's share of its node's cores, whether the launcher bound ranks to cores or not.
int cores_of_rank(runtime::World& world) {
  std::string own = fmt::format("{}", world.node());
  for (const int core : runtime::usable_cores()) own += fmt::format(" {}", core);
  std::set<int> cores;
  for (const std::string& text : world.all_gather(own)) {
    std::istringstream numbers(text);
    int node = 0;
    numbers >> node;
    if (node != world.node()) continue;
    for (int core = 0; numbers >> core;) cores.insert(core);
  }
  return std::max(1, static_cast<int>(cores.size()) / world.local_size());
}

}  // namespace

StageRunner::StageRunner(config::Config config, const Options& options, const Program& program, runtime::World& world)
    : config_(std::move(config)), world_(world) {
  runtime::keep_freed_memory();
  const stages::RunFolder folder{config_.run().folder()};
  require_shared_folder(folder.root / "logs", world);
  stages::make_stage_folder(folder.root / "logs", world);
  if (world.rank() == 0) {
    lock_ = std::make_unique<runtime::RunLock>(folder.root, [](const std::string& text) { spdlog::warn("{}", text); });
    runtime::write_file_atomically(folder.root / "config.toml", config::to_toml(config_));
  }
  world.barrier();
  program.use_log_level(config::Logging::Level_Name(config_.logging().level()), world, folder.root / "logs");
  require_same_job();
  const int cores = cores_of_rank(world);
  const int threads = config_.compute().threads() > 0 ? static_cast<int>(config_.compute().threads()) : cores;
  at::set_num_threads(threads);
  communicator_ = distributed::make_communicator(world, std::chrono::seconds(config_.compute().start_timeout()));
  watch_ = std::make_unique<distributed::Watch>(world, communicator_->journal(), folder.root / "logs");
  communicator_->set_investigation([this](const distributed::Collective& slow) { return watch_->investigate(slow); });
  world.set_investigation([this] { return watch_->investigate_world(); });
  world.failure_detector().set_lost_after(std::chrono::seconds(config_.compute().lost_after()));
  world.failure_detector().set_last_words([this](const std::string& what) { watch_->write(what); });
  if (config_.logging().trace_steps() > 0) trace_ = std::make_unique<runtime::Trace>();
  display_ = std::make_unique<Display>(folder, config_, world.size());
  job_watch_ =
      std::make_unique<JobWatch>(world, [this](const std::vector<std::string>& warnings) { display_->warn(warnings); });
  const int loaders =
      config_.compute().loader_threads() > 0 ? static_cast<int>(config_.compute().loader_threads()) : threads;
  context_ = std::make_unique<stages::Context>(
      stages::Context{.config = config_,
                      .world = world,
                      .communicator = *communicator_,
                      .folder = folder,
                      .loader_threads = loaders,
                      .resume = options.resume,
                      .allowed_changes = options.allowed_changes,
                      .progress = [this](const std::string& label, std::int64_t done,
                                         std::int64_t total) { display_->progress(label, done, total); },
                      .observer = display_.get(),
                      .pace = &job_watch_->pace(),
                      .trace = trace_.get()});
  if (world.rank() == 0) {
    spdlog::debug("{} ranks, {} communicator on {}, {} threads each, which {}", world.size(), communicator_->name(),
                  communicator_->device().str(), threads, thread_waiting());
  }
}

StageRunner::~StageRunner() {
  world_.set_investigation({});
  world_.failure_detector().set_last_words({});
}

const std::vector<std::string>& StageRunner::stages() {
  static const std::vector<std::string> names{"shard",           "cache",          "align",   stages::kTeacher,
                                              stages::kBaseline, stages::kStudent, "evaluate"};
  return names;
}

void StageRunner::require_possible(const std::vector<std::string>& stages) const {
  std::string found;
  if (world_.rank() == 0) {
    for (const std::string& finding : stages::find_impossible(config_, stages, world_.size())) found += finding + '\0';
  }
  found = world_.broadcast(found);
  std::vector<std::string> findings;
  for (std::size_t at = 0; at < found.size(); at = found.find('\0', at) + 1)
    findings.push_back(found.substr(at, found.find('\0', at) - at));
  stages::refuse(findings);
}

stages::StageOutcome StageRunner::run(const std::string& stage, bool by_name) {
  context_->looks_for_new = by_name;
  // Stages share work out dynamically: a rank may wait at their end for another's last shard.
  world_.set_timeout(std::max<std::chrono::milliseconds>(std::chrono::hours(1),
                                                         std::chrono::seconds(config_.compute().step_timeout())));
  if (world_.rank() == 0) display_->begin(stage);
  const stages::StageOutcome outcome = act(stage);
  if (world_.rank() != 0) return outcome;
  const bool more_follow = !by_name && stage != stages().back();
  if (!outcome.finished) {
    display_->end(report::RunState::kStopped);
  } else {
    display_->end(more_follow ? report::RunState::kRunning : report::RunState::kFinished);
  }
  if (outcome.done_before) {
    spdlog::info("{} is complete already", stage);
  } else if (!outcome.finished) {
    spdlog::info("{} stopped at a checkpoint; the same command goes on", stage);
  } else {
    const double seconds = outcome.completion.seconds;
    spdlog::info("{} took {:.1f} s, {:.0f} images/s", stage, seconds,
                 seconds > 0 ? static_cast<double>(outcome.completion.images) / seconds : 0.0);
  }
  return outcome;
}

// Different files, builds or launches on different ranks would fail later, in ways that say less.
void StageRunner::require_same_job() const {
  distributed::Facts facts{{"cskd", doctor::program_version()},
                           {"build", doctor::program_build()},
                           {"number of ranks", std::to_string(world_.size())}};
  for (const doctor::LibraryVersion& library : doctor::library_versions())
    facts.emplace_back(library.name, library.version);
  for (auto& setting : config::settings_of(config_, "")) facts.push_back(std::move(setting));
  distributed::require_same(world_, "the job", facts);
}

stages::StageOutcome StageRunner::act(const std::string& stage) {
  try {
    const auto action = actions().find(stage);
    return action == actions().end() ? evaluate() : action->second(*context_);
  } catch (const runtime::Stopped& stopped) {
    spdlog::debug("{}", stopped.what());
    return {.completion = {.stage = stage}, .finished = false};
  } catch (const std::exception& error) {
    if (world_.rank() == 0)
      display_->end(report::RunState::kFailed, fmt::format("{}", fmt::join(runtime::messages(error), ": ")));
    // A wrong configuration is the same on every rank; anything else may be this rank's alone, while others wait for
    // it.
    const bool is_usage = runtime::exit_code_of(error) == runtime::ExitCode::kUsage;
    if (world_.size() > 1 && !is_usage && communicator_->journal().queued() > 0) {
      const std::string states = watch_->write_all(fmt::format("rank {} failed: {}", world_.rank(), error.what()));
      spdlog::warn("rank {} failed while\n{}", world_.rank(), states);
    }
    throw;
  }
}

stages::StageOutcome StageRunner::evaluate() {
  const auto start = std::chrono::steady_clock::now();
  std::vector<std::string> trained;
  for (const char* stage : {stages::kStudent, stages::kBaseline, stages::kTeacher}) {
    bool is_there = world_.rank() == 0 && std::filesystem::exists(context_->folder.model(stage));
    if (world_.any(is_there)) trained.emplace_back(stage);
  }
  if (trained.empty()) {
    throw runtime::UsageError(
        fmt::format("{} holds no trained model: run 'cskd distill' first", config_.run().folder()));
  }
  const std::filesystem::path folder = context_->folder.stage("evaluate");
  stages::StageOutcome outcome{.completion = {.stage = "evaluate", .inputs = evaluate_inputs(trained)}};
  results_.clear();
  if (const auto done =
          stages::agree_on_completion(folder, outcome.completion.inputs, world_, stages::OtherInputs::kMakeAgain)) {
    if (world_.rank() == 0) results_ = read_results(folder);
    return {.completion = *done, .done_before = true};
  }
  stages::make_stage_folder(folder, world_);
  runtime::failure_point("evaluate.start", folder.native());
  std::vector<stages::TestPredictions> all = stages::predict_test_split(*context_, trained);
  for (stages::TestPredictions& predictions : all) {
    std::vector<evaluation::RatedPrediction> pictures;
    for (size_t i = 0; i < predictions.predicted.size(); ++i)
      pictures.push_back({predictions.predicted[i], predictions.rated[i]});
    const evaluation::ScoreOptions options{.bin_centres = predictions.bin_centres,
                                           .middle = evaluation::middle_of(predictions.bin_centres),
                                           .resamples = static_cast<int>(config_.evaluate().resamples()),
                                           .seed = config_.run().seed()};
    predictions.model = model_name(predictions.model);
    if (world_.rank() == 0)
      results_.push_back({predictions.model, predictions.label_fraction, evaluation::score(pictures, options)});
    outcome.completion.images += pictures.size();
  }
  outcome.completion.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  if (world_.rank() == 0) {
    outcome.completion.products = write_results(folder, results_, all);
    stages::write_completion(folder, outcome.completion);
  }
  world_.barrier();
  return outcome;
}

runtime::Inputs StageRunner::evaluate_inputs(const std::vector<std::string>& trained) const {
  runtime::Inputs inputs = stages::corpus_inputs(*context_);
  inputs.add(config::settings_of(config_.evaluate(), "evaluate"));
  inputs.add(config::settings_of(config_.labels(), "labels"));
  for (const std::string& stage : trained)
    inputs.add("model of " + stage, runtime::content_hash(runtime::InputFile(context_->folder.model(stage))).hex());
  return inputs;
}

}  // namespace cskd::launch

#include "launch/stage_runner.h"

#include <chrono>
#include <set>
#include <sstream>

#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <spdlog/spdlog.h>

#include "config/toml_writer.h"
#include "distributed/same_everywhere.h"
#include "doctor/rank_facts.h"
#include "doctor/versions.h"
#include "launch/shared_folder.h"
#include "launch/thread_waiting.h"
#include "runtime/atomic_file.h"
#include "runtime/cores.h"
#include "runtime/error.h"
#include "runtime/freed_memory.h"
#include "runtime/work_queue.h"
#include "stages/feasibility.h"

namespace cskd::launch {
namespace {

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
    : config_(std::move(config)), member_(options.member), world_(world) {
  runtime::keep_freed_memory();
  const run::RunFolder folder{.root = config_.run().folder(), .elsewhere = {}};
  require_shared_folder(folder.root / "logs", world);
  run::make_stage_folder(folder.root / "logs", world);
  if (world.rank() == 0) {
    lock_ = std::make_unique<runtime::RunLock>(folder.root, [](const std::string& text) { spdlog::warn("{}", text); });
    const std::filesystem::path file =
        folder.root / (member_.empty() ? "config.toml" : fmt::format("members/{}.toml", member_));
    std::filesystem::create_directories(file.parent_path());
    runtime::write_file_atomically(file, config::to_toml(config_));
  }
  world.barrier();
  program.use_log_level(config::Logging::Level_Name(config_.logging().level()), world, folder.root / "logs");
  require_same_job();
  stages::refuse(of_rank_zero([&] { return run::old_results(folder.root); }));
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
  context_ = std::make_unique<run::Context>(
      run::Context{.config = config_,
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

void StageRunner::require_possible(const std::vector<stages::Stage>& stages) const {
  stages::refuse(
      of_rank_zero([&] { return stages::find_impossible(config_, stages, world_.size(), context_->folder); }));
}

void StageRunner::require_needs(const std::vector<stages::Stage>& stages) const {
  stages::refuse(of_rank_zero(
      [&] { return stages::lacking_needs(config_, stages, context_->folder, context_->allowed_changes); }));
}

std::vector<std::string> StageRunner::of_rank_zero(const std::function<std::vector<std::string>()>& find) const {
  std::string found;
  if (world_.rank() == 0) {
    for (const std::string& finding : find()) found += finding + '\0';
  }
  found = world_.broadcast(found);
  std::vector<std::string> findings;
  for (std::size_t at = 0; at < found.size(); at = found.find('\0', at) + 1)
    findings.push_back(found.substr(at, found.find('\0', at) - at));
  return findings;
}

run::StageOutcome StageRunner::run(const stages::Stage& stage, Reason reason, bool more_follow) {
  const std::string id = stage.id();
  context_->looks_for_new = reason == Reason::kAsked;
  if (!member_.empty()) share_result(stage);
  // Stages share work out dynamically: a rank may wait at their end for another's last shard.
  world_.set_timeout(std::max<std::chrono::milliseconds>(std::chrono::hours(1),
                                                         std::chrono::seconds(config_.compute().step_timeout())));
  if (world_.rank() == 0) display_->begin(stage);
  const run::StageOutcome outcome = act(stage);
  if (world_.rank() != 0) return outcome;
  if (!outcome.finished) {
    display_->end(report::RunState::kStopped);
  } else {
    display_->end(more_follow ? report::RunState::kRunning : report::RunState::kFinished);
  }
  if (outcome.done_before) {
    spdlog::info("{} is complete already", id);
  } else if (!outcome.finished) {
    spdlog::info("{} stopped at a checkpoint; the same command continues", id);
  } else {
    const double seconds = outcome.completion.seconds;
    spdlog::info("{} took {:.1f} s, {:.0f} images/s", id, seconds,
                 seconds > 0 ? static_cast<double>(outcome.completion.images) / seconds : 0.0);
  }
  return outcome;
}

void StageRunner::share_result(const stages::Stage& stage) {
  const std::string hash =
      of_rank_zero([&] {
        return std::vector<std::string>{stage.entry->inputs(config_, context_->folder, stage.name).hash().hex()};
      }).front();
  constexpr std::size_t kDigits = 16;
  const std::filesystem::path folder =
      context_->folder.root / "results" / fmt::format("{}-{}", stage.id(), hash.substr(0, kDigits));
  context_->folder.elsewhere[stage.id()] = folder;
  display_->place(stage.id(), folder);
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

run::StageOutcome StageRunner::act(const stages::Stage& stage) {
  try {
    return stage.entry->run(*context_, stage.name);
  } catch (const runtime::Stopped& stopped) {
    spdlog::debug("{}", stopped.what());
    return {.completion = {.stage = stage.id()}, .finished = false};
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

}  // namespace cskd::launch

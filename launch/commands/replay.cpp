#include "training/replay.h"

#include <chrono>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "launch/commands/commands.h"
#include "launch/config_arguments.h"
#include "launch/run_arguments.h"
#include "run/context.h"
#include "runtime/cores.h"
#include "runtime/error.h"
#include "stages/stage_table.h"

namespace cskd::launch {
namespace {

struct ReplayArguments {
  std::filesystem::path capsule;
  std::vector<std::string> overrides;
  bool json = false;
};

// Of whatever a stage does beside its one step.
class Silent final : public training::TrainingObserver {
 public:
  void started(std::uint64_t, std::uint64_t) override {}
  void stepped(const training::StepReport&) override {}
  void tensors(std::uint64_t, const training::NamedTensors&, const training::NamedTensors&) override {}
  void pictures(std::uint64_t, const at::Tensor&) override {}
  void flush() override {}
  void checkpointed(std::uint64_t) override {}
};

std::string to_json(const training::ReplayJob& job) {
  nlohmann::ordered_json parts = nlohmann::ordered_json::array();
  for (const training::ReplayedMicroBatch& part : job.report->micro_batches) {
    nlohmann::ordered_json figures = nlohmann::ordered_json::object();
    for (const auto& [name, value] : part.figures) figures[name] = value;
    parts.push_back({{"number", part.then.number},
                     {"rank", part.then.rank},
                     {"loss_then", part.then.loss},
                     {"loss", part.loss},
                     {"figures", figures},
                     {"gradient_is_finite", part.gradient_is_finite},
                     {"is_same", part.is_same},
                     {"is_close", part.is_close}});
  }
  return nlohmann::ordered_json{{"stage", job.capsule.stage},     {"step", job.capsule.step},
                                {"reason", job.capsule.reason},   {"blame", training::name_of(job.report->blame)},
                                {"verdict", job.report->verdict}, {"micro_batches", parts}}
             .dump(2) +
         "\n";
}

std::string to_text(const training::ReplayJob& job) {
  std::string text = fmt::format("\n  {}, step {}: {}\n\n  {:>11} {:>5} {:>14} {:>14}  {:<9} {}\n", job.capsule.stage,
                                 job.capsule.step, job.capsule.reason, "micro-batch", "rank", "loss then", "loss now",
                                 "gradient", "compared");
  for (const training::ReplayedMicroBatch& part : job.report->micro_batches) {
    text += fmt::format("  {:>11} {:>5} {:>14} {:>14}  {:<9} {}\n", part.then.number, part.then.rank, part.then.loss,
                        part.loss, part.gradient_is_finite ? "finite" : "not",
                        part.is_same    ? "same bits"
                        : part.is_close ? "close"
                                        : "different");
  }
  return text + fmt::format("\n  To blame: {}. {}\n", training::name_of(job.report->blame), job.report->verdict);
}

runtime::ExitCode run_replay(const ReplayArguments& arguments, runtime::World& world) {
  if (world.size() > 1) throw runtime::UsageError("a step is replayed by one process: start it without mpirun or srun");
  training::ReplayJob job{.folder = std::filesystem::absolute(arguments.capsule).lexically_normal(),
                          .capsule = training::read_capsule(arguments.capsule),
                          .report = {}};
  const config::Config config = load_run(job.folder / "config.toml", arguments.overrides);
  at::set_num_threads(job.capsule.threads);
  const auto communicator =
      distributed::make_communicator(world, std::chrono::seconds(config.compute().start_timeout()));
  Silent observer;
  const run::Context context{
      .config = config,
      .world = world,
      .communicator = *communicator,
      .folder = {.root = config.run().folder(), .elsewhere = job.capsule.origin.results},
      .loader_threads = static_cast<int>(runtime::usable_cores().size()),
      .resume = true,
      .allowed_changes = {},
      .progress = [](const std::string&, std::int64_t, std::int64_t) {},
      .observer = &observer,
      .replay = &job,
  };
  const std::size_t dot = job.capsule.stage.find('.');
  const stages::StageEntry* entry = nullptr;
  for (const stages::StageEntry& each : stages::stage_table()) {
    if (each.training != nullptr && job.capsule.stage.substr(0, dot) == each.kind) entry = &each;
  }
  if (entry == nullptr || dot == std::string::npos)
    throw runtime::DataError(fmt::format("{}: '{}' is no training", job.folder.native(), job.capsule.stage));
  entry->run(context, job.capsule.stage.substr(dot + 1));
  show(arguments.json ? to_json(job) : to_text(job));
  return runtime::ExitCode::kDone;
}

}  // namespace

void add_replay(Program& program) {
  CLI::App& command = program.add_command(
      "replay", "Compute a training step that went wrong again, and say who is to blame",
      "  cskd replay runs/demo/align/student/capsules/step-000000037\n"
      "  cskd replay runs/demo/align/student/capsules/step-000000037 --json\n"
      "  cskd replay runs/demo/align/student/capsules/step-000000037 --set run.folder=/copy/of/runs/demo");
  const auto arguments = std::make_shared<ReplayArguments>();
  command.add_option("CAPSULE", arguments->capsule, "Folder of the step, which the log of the training named")
      ->required();
  command.add_option("--set", arguments->overrides, "Change a key of the configuration that the capsule holds")
      ->type_name("KEY=VALUE")
      ->allow_extra_args(false);
  command.add_flag("--json", arguments->json, "Print the result as JSON");
  program.run_in_world(
      command, [arguments](runtime::World& world) { return run_replay(*arguments, world); }, /*may_be_alone=*/true);
}

}  // namespace cskd::launch

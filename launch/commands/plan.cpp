#include "stages/plan.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <map>
#include <memory>
#include <numeric>
#include <string>
#include <tuple>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "distributed/communicator.h"
#include "launch/commands/commands.h"
#include "launch/config_arguments.h"
#include "models/compute_settings.h"
#include "report/number_text.h"
#include "runtime/error.h"
#include "runtime/free_space.h"
#include "runtime/terminal.h"
#include "stages/feasibility.h"

namespace cskd::launch {
namespace {

using Json = nlohmann::ordered_json;
using stages::PlannedStage;
using stages::Verdict;

struct PlanArguments {
  ConfigArguments config;
  int devices = 1;
  bool quick = false;
  bool json = false;
  bool names = false;
};

// Measures each model once, and tells on a terminal that it does.
class CostMeter {
 public:
  CostMeter(at::Device device, models::ComputeSettings settings) : device_(device), settings_(settings) {}

  std::optional<training::ModelCost> operator()(const training::ModelSubject& model) {
    const std::tuple key(model.encoder, model.image_size, model.batch, model.trains_encoder);
    if (const auto found = costs_.find(key); found != costs_.end()) return found->second;
    const bool is_seen = runtime::is_terminal(runtime::Stream::kError);
    if (is_seen) fmt::print(stderr, "\r\x1b[Kmeasuring {}, {} images at a time", model.encoder, model.batch);
    std::optional<training::ModelCost> cost;
    try {
      cost = training::measure_cost(model, settings_, device_);
    } catch (const runtime::UsageError&) {  // what cannot be done is told apart
    }
    if (is_seen) fmt::print(stderr, "\r\x1b[K");
    costs_.emplace(key, cost);
    return cost;
  }

 private:
  at::Device device_;
  models::ComputeSettings settings_;
  std::map<std::tuple<std::string, int, std::int64_t, bool>, std::optional<training::ModelCost>> costs_;
};

// As configured; where a start-up probe would choose, what it starts from.
models::ComputeSettings settings_of(const config::Compute& compute) {
  models::ComputeSettings settings;
  if (compute.precision() != config::Compute::auto_)
    settings.precision = *models::precision_named(config::Compute::Precision_Name(compute.precision()));
  if (compute.memory_format() != config::auto_)
    settings.memory_format = *models::memory_format_named(config::MemoryFormat_Name(compute.memory_format()));
  return settings;
}

template <typename T, typename ToText>
std::string or_unknown(const std::optional<T>& value, ToText to_text) {
  return value ? std::string(to_text(*value)) : "?";
}

// What a stage is made from besides the corpus.
std::string sources_of(const stages::Stage& stage) {
  if (!stage.judged.empty()) return fmt::format("{} model{}", stage.judged.size(), stage.judged.size() == 1 ? "" : "s");
  std::vector<std::string> names;
  for (const std::string& table : stage.tables) {
    const bool is_cached =
        table.starts_with("towers.") && std::ranges::find(stage.needs, stages::cache_of(table)) != stage.needs.end();
    if (!is_cached) names.push_back(table);
  }
  for (const std::string& need : stage.needs) {
    if (need.find('.') != std::string::npos) names.push_back(need);
  }
  return fmt::format("{}", fmt::join(names, ", "));
}

// "align.student learns from the stored features of towers.clip: 42,066 views, 16 MiB, 5 min once. Computed in each
// step they would take 9 min."
std::string sentence(const std::string& stage, const stages::PlannedTower& tower) {
  const auto number = [](std::uint64_t value) { return report::with_commas(static_cast<std::int64_t>(value)); };
  const std::string step = or_unknown(tower.step_seconds, report::duration_text);
  if (!tower.views && tower.is_storable) {
    return fmt::format("{} learns from {}: what its features take is known when the corpus is packed.", stage,
                       tower.tower);
  }
  const std::string cache = fmt::format("{} views, {}, {}", or_unknown(tower.views, number),
                                        or_unknown(tower.cache_bytes, runtime::format_bytes),
                                        or_unknown(tower.cache_seconds, report::duration_text));
  if (tower.is_cached) {
    return fmt::format("{} learns from the stored features of {}: {} once. Computed in each step they would take {}.",
                       stage, tower.tower, cache, step);
  }
  return fmt::format("{} has {} compute its features in each step: {} of its time. {}", stage, tower.tower, step,
                     tower.is_storable ? fmt::format("All of them stored would be {}.", cache)
                                       : "They cannot be stored: every use shows new pixels.");
}

struct Totals {
  double seconds = 0;
  std::uint64_t disk_bytes = 0;
  bool are_whole = true;  // every figure is known
};

// Of what is left to do.
Totals totals_of(const std::vector<PlannedStage>& planned) {
  Totals totals;
  for (const PlannedStage& stage : planned) {
    if (stage.verdict == Verdict::kComplete) continue;
    totals.are_whole = totals.are_whole && stage.seconds && stage.disk_bytes;
    totals.seconds += stage.seconds.value_or(0);
    totals.disk_bytes += stage.disk_bytes.value_or(0);
  }
  return totals;
}

std::string to_text(const std::vector<PlannedStage>& planned, const std::vector<std::string>& impossible,
                    const PlanArguments& arguments, const std::string& device) {
  std::size_t name = 5;
  std::size_t source = 9;
  for (const PlannedStage& each : planned) {
    name = std::max(name, each.stage.id().size());
    source = std::max(source, sources_of(each.stage).size());
  }
  std::string text = fmt::format("\n  {:<{}}  {:<{}}  {:<10}  {:>11}  {:>12}  {:>9}  {:>9}\n", "stage", name,
                                 "made from", source, "state", "images", "time", "disk", "memory");
  for (const PlannedStage& each : planned) {
    const auto number = [](std::uint64_t value) { return report::with_commas(static_cast<std::int64_t>(value)); };
    text +=
        fmt::format("  {:<{}}  {:<{}}  {:<10}  {:>11}  {:>12}  {:>9}  {:>9}\n", each.stage.id(), name,
                    sources_of(each.stage), source, name_of(each.verdict), or_unknown(each.images, number),
                    or_unknown(each.seconds, report::duration_text), or_unknown(each.disk_bytes, runtime::format_bytes),
                    each.memory_bytes ? runtime::format_bytes(*each.memory_bytes) : "");
  }
  const Totals totals = totals_of(planned);
  const bool all_done =
      std::ranges::all_of(planned, [](const PlannedStage& each) { return each.verdict == Verdict::kComplete; });
  if (!all_done) {
    const std::string more = totals.are_whole ? "" : "+ ?";
    text += fmt::format("  {:<{}}  {:>11}  {:>12}  {:>9}\n", "left to do", name + source + 14, more,
                        arguments.quick ? "?" : report::duration_text(totals.seconds),
                        runtime::format_bytes(totals.disk_bytes));
  }
  std::string reasons;
  for (const PlannedStage& each : planned) {
    if (!each.reason.empty())
      reasons += fmt::format("  {} {}: {}\n", each.stage.id(), name_of(each.verdict), each.reason);
  }
  for (const PlannedStage& each : planned) {
    for (const stages::PlannedTower& tower : each.towers)
      reasons += fmt::format("  {}\n", sentence(each.stage.id(), tower));
  }
  if (!reasons.empty()) text += "\n" + reasons;
  const bool is_refused =
      std::ranges::any_of(planned, [](const PlannedStage& each) { return each.verdict == Verdict::kRefused; });
  if (is_refused) {
    text +=
        "\n  Refused stages keep their results: restore the settings, choose another run.folder, remove the result, or "
        "accept it with --allow-change NAME.\n";
  }
  if (!impossible.empty())
    text += fmt::format("\n  What prevents this run:\n  - {}\n", fmt::join(impossible, "\n  - "));
  if (all_done) return text + "\n  Everything is complete.\n";
  if (arguments.quick) return text;
  return text +
         fmt::format(
             "\n  Times and memory: models measured on {} just now, {}; reading and decoding pictures is not "
             "counted.\n",
             device,
             arguments.devices == 1 ? "for one such device" : fmt::format("for {} such devices", arguments.devices));
}

Json to_json(const std::vector<PlannedStage>& planned, const std::vector<std::string>& impossible,
             const std::string& run_folder, const PlanArguments& arguments) {
  const auto or_null = [](const auto& value) { return value ? Json(*value) : Json(nullptr); };
  Json list = Json::array();
  for (const PlannedStage& each : planned) {
    Json towers = Json::array();
    for (const stages::PlannedTower& tower : each.towers) {
      towers.push_back({{"tower", tower.tower},
                        {"is_cached", tower.is_cached},
                        {"views", or_null(tower.views)},
                        {"cache_bytes", or_null(tower.cache_bytes)},
                        {"cache_seconds", or_null(tower.cache_seconds)},
                        {"step_seconds", or_null(tower.step_seconds)}});
    }
    list.push_back({{"stage", each.stage.id()},
                    {"needs", each.stage.needs},
                    {"reads", each.stage.tables},
                    {"verdict", name_of(each.verdict)},
                    {"reason", each.reason},
                    {"images", or_null(each.images)},
                    {"seconds", or_null(each.seconds)},
                    {"disk_bytes", or_null(each.disk_bytes)},
                    {"memory_bytes", or_null(each.memory_bytes)},
                    {"towers", towers}});
  }
  const Totals totals = totals_of(planned);
  return {
      {"run", run_folder},
      {"devices", arguments.devices},
      {"stages", list},
      {"left_to_do", {{"seconds", totals.seconds}, {"disk_bytes", totals.disk_bytes}, {"is_whole", totals.are_whole}}},
      {"impossible", impossible}};
}

runtime::ExitCode make_plan(const PlanArguments& arguments, runtime::World& world) {
  if (world.size() > 1) throw runtime::UsageError("a plan is made by one process: start it without mpirun or srun");
  const config::Config config = load_run(arguments.config.path, arguments.config.overrides);
  if (arguments.names) {
    for (const stages::Stage& stage : stages::graph(config)) fmt::print("{}\n", stage.id());
    return runtime::ExitCode::kDone;
  }
  const run::RunFolder folder{.root = config.run().folder(), .elsewhere = {}};
  stages::PlanOptions options{.devices = arguments.devices};
  std::string device = "this machine";
  if (!arguments.quick) {
    const auto communicator =
        distributed::make_communicator(world, std::chrono::seconds(config.compute().start_timeout()));
    if (communicator->device().is_cuda()) device = "a GPU of this machine";
    options.cost_of = CostMeter(communicator->device(), settings_of(config.compute()));
  }
  std::vector<std::string> impossible;
  if (const auto old = run::old_results(folder.root); !old.empty()) impossible = old;
  for (std::string& finding : stages::find_impossible(config, stages::graph(config), 1, folder))
    impossible.push_back(std::move(finding));
  const std::vector<PlannedStage> planned = stages::plan(config, folder, options);
  const std::string text = arguments.json
                               ? to_json(planned, impossible, config.run().folder(), arguments).dump(2) + "\n"
                               : to_text(planned, impossible, arguments, device);
  std::fwrite(text.data(), 1, text.size(), stdout);
  const bool can_run = impossible.empty() && std::ranges::none_of(planned, [](const PlannedStage& each) {
                         return each.verdict == Verdict::kRefused;
                       });
  return can_run ? runtime::ExitCode::kDone : runtime::ExitCode::kUsage;
}

}  // namespace

void add_plan(Program& program) {
  CLI::App& command =
      program.add_command("plan", "Show the graph: what is complete, what would run and why, and what that takes",
                          "  cskd plan configs/demo.toml\n"
                          "  cskd plan big.toml --devices 64        # as many GPUs as this one\n"
                          "  cskd plan big.toml --set distill.student.training.steps=800 --quick\n"
                          "  cskd plan big.toml --json");
  const auto arguments = std::make_shared<PlanArguments>();
  add_config_arguments(command, "Configuration of the run", arguments->config);
  command.get_option("CONFIG")->required();
  command
      .add_option("--devices", arguments->devices,
                  "Devices like this one that share the work: GPUs, or whole machines without GPUs")
      ->check(CLI::Range(1, 1000000))
      ->capture_default_str();
  command.add_flag("--quick", arguments->quick, "Do not measure time and memory of the models");
  CLI::Option* json = command.add_flag("--json", arguments->json, "Print JSON");
  command.add_flag("--names", arguments->names, "Print only the names of the stages, in order")->excludes(json);
  program.run_in_world(
      command, [arguments](runtime::World& world) { return make_plan(*arguments, world); },
      /*may_be_alone=*/true);
}

}  // namespace cskd::launch

#include "config/sweep.h"

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>
#include <spdlog/spdlog.h>

#include "evaluation/sweep_table.h"
#include "launch/commands/commands.h"
#include "launch/config_arguments.h"
#include "launch/graph_run.h"
#include "launch/run_arguments.h"
#include "launch/stage_runner.h"
#include "runtime/atomic_file.h"
#include "runtime/error.h"
#include "runtime/input_file.h"
#include "runtime/stop_signal.h"
#include "runtime/terminal.h"
#include "stages/feasibility.h"
#include "stages/graph.h"

namespace cskd::launch {
namespace {

using Json = nlohmann::ordered_json;

struct SweepArguments {
  RunArguments run;
  std::vector<std::string> over;
};

struct Member {
  config::SweepMember values;
  config::Config config;
  std::string name;  // of its file: "0003-run.seed=3"
};

// The name of a member, fit for a file. The number keeps them apart and in order.
std::string file_name(std::size_t number, const config::SweepMember& member) {
  constexpr std::size_t kLongest = 100;
  std::string name = fmt::format("{:04}-{}", number, fmt::join(member.overrides(), ","));
  for (char& c : name) {
    if (std::isalnum(static_cast<unsigned char>(c)) == 0 && std::string_view("._=,-").find(c) == std::string_view::npos)
      c = '_';
  }
  return name.substr(0, kLongest);
}

std::vector<Member> members_of(const SweepArguments& arguments) {
  const ConfigArguments& base = arguments.run.config;
  const config::Config config = load_run(base.path, base.overrides);
  std::vector<std::string> over = arguments.over;
  if (over.empty()) over = {config.sweep().over().begin(), config.sweep().over().end()};
  if (over.empty())
    throw runtime::UsageError(
        "there is nothing to sweep over: give --over run.seed=1,2,3, or over = [\"run.seed=1,2,3\"] in [sweep]");
  std::vector<config::SweepAxis> axes;
  for (const std::string& axis : over) axes.push_back(config::parse_axis(axis));
  std::vector<Member> members;
  for (const config::SweepMember& values : config::members_of(axes)) {
    std::vector<std::string> overrides = base.overrides;
    for (std::string& each : values.overrides()) overrides.push_back(std::move(each));
    members.push_back(
        {.values = values, .config = load_run(base.path, overrides), .name = file_name(members.size() + 1, values)});
  }
  return members;
}

// Of all members, before anything is done. What is wrong with several is told once.
void require_possible(const std::vector<Member>& members, int ranks) {
  std::vector<std::string> findings;
  std::set<std::string> seen;
  for (const Member& member : members) {
    const std::vector<stages::Stage> graph = stages::graph(member.config);
    if (std::ranges::none_of(graph, [](const stages::Stage& stage) { return stage.entry->judges; }))
      throw runtime::UsageError("the configuration trains no model that scores pictures: there is nothing to compare");
    for (const std::string& finding : stages::impossible_stages(member.config, graph, ranks)) {
      if (seen.insert(finding).second) findings.push_back(fmt::format("with {}: {}", member.values.name(), finding));
    }
  }
  stages::refuse(findings);
}

std::filesystem::path write_table(const std::filesystem::path& folder, const std::vector<Member>& members,
                                  const std::vector<Json>& results, const evaluation::SweepTable& table) {
  Json document = Json::parse(evaluation::to_json(table));
  document["members"] = Json::array();
  for (std::size_t i = 0; i < members.size(); ++i) {
    Json values = Json::object();
    for (const auto& [key, value] : members[i].values.values) values[key] = value;
    document["members"].push_back(
        {{"values", values}, {"configuration", "members/" + members[i].name + ".toml"}, {"results", results[i]}});
  }
  runtime::write_file_atomically(folder / "sweep.csv", evaluation::to_csv(table));
  runtime::write_file_atomically(folder / "sweep.json", document.dump(2) + "\n");
  return folder / "sweep.json";
}

runtime::ExitCode run_sweep(const SweepArguments& arguments, const Program& program, runtime::World& world) {
  const runtime::StopSignal stop(deadline_of(arguments.run));
  runtime::outlive_pipes();
  const std::vector<Member> members = members_of(arguments);
  require_possible(members, world.size());
  std::vector<evaluation::SweptMember> swept;
  std::vector<Json> results;
  std::filesystem::path folder;
  for (const Member& member : members) {
    StageRunner::Options options = runner_options(arguments.run);
    options.member = member.name;
    StageRunner runner(member.config, options, program, world);
    folder = runner.folder().root;
    if (world.rank() == 0) spdlog::info("member {} of {}: {}", swept.size() + 1, members.size(), member.values.name());
    if (!run_graph(runner, world, &member != &members.back())) return runtime::ExitCode::kRequeue;
    evaluation::SweptMember& done = swept.emplace_back();
    Json& places = results.emplace_back(Json::object());
    done.values = member.values.values;
    for (const stages::Stage& stage : stages::graph(member.config)) {
      places[stage.id()] = runner.result(stage).lexically_relative(folder).native();
      if (stage.entry->judges && world.rank() == 0) done.models = evaluation::read_predictions(runner.result(stage));
    }
  }
  if (world.rank() == 0) {
    const config::Config& first = members.front().config;
    const evaluation::SweepTable table =
        evaluation::make_sweep_table(swept, static_cast<int>(first.evaluate().resamples()), 1);
    const std::filesystem::path path = write_table(folder, members, results, table);
    show(arguments.run.json ? runtime::read_text_file(path, std::uint64_t{1} << 32)
                            : fmt::format("\n{}\n  {}\n", evaluation::to_text(table), path.native()));
  }
  return runtime::ExitCode::kDone;
}

}  // namespace

void add_sweep(Program& program) {
  CLI::App& command = program.add_command(
      "sweep", "Run all combinations of lists of values, sharing what does not differ, and compare",
      "  cskd sweep configs/demo.toml --over run.seed=1,2,3\n"
      "  mpirun -n 2 cskd sweep big.toml --over run.seed=1,2,3 --over labels.fraction=0.01,0.1,1\n"
      "  srun --mpi=pmix -N 4 --ntasks-per-node 8 cskd sweep big.toml    # over the lists of its [sweep]");
  const auto arguments = std::make_shared<SweepArguments>();
  add_run_arguments(command, arguments->run);
  command
      .add_option("--over", arguments->over,
                  "A key and its values, in place of the configuration's [sweep]; may be repeated")
      ->type_name("KEY=VALUE,VALUE,...")
      ->allow_extra_args(false);
  program.run_in_world(command,
                       [arguments, &program](runtime::World& world) { return run_sweep(*arguments, program, world); });
}

}  // namespace cskd::launch
